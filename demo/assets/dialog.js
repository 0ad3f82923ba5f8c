// The browser's own dialog keeps the focus inside, closes on Escape and gives the focus back.
watch('value', () => {
  const dialog = element.querySelector('dialog');
  if (dialog && !dialog.open) dialog.showModal();
});

element.addEventListener('click', (event) => {
  const dialog = element.querySelector('dialog');
  if (!dialog) return;
  const same = event.target.closest('[data-same]');
  if (same) trigger('same', { place: Number(same.dataset.same) });
  // A click on the dialog itself is one on the dark area around its content.
  if (same || event.target === dialog || event.target.closest('[data-close]')) dialog.close();
});
