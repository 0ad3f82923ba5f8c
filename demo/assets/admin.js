// What would be removed is shown with a button: it says how much it showed, so that no more goes.
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-remove]');
  if (!button) return;
  button.disabled = true;
  const { remove, camera, until } = button.dataset;
  trigger('remove', { count: Number(remove), camera, until });
});
