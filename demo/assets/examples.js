element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-example]');
  if (!button) return;
  element.querySelectorAll('[data-example]').forEach((other) =>
    other.setAttribute('aria-pressed', String(other === button)));
  trigger('choose', { number: Number(button.dataset.example) });
});
