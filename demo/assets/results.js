element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  if (button.dataset.place !== undefined) trigger('show', { place: Number(button.dataset.place) });
  if (button.dataset.forget !== undefined) trigger('forget', {});
});
