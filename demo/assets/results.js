element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  if (button.dataset.place !== undefined) trigger('show', { place: Number(button.dataset.place) });
  if (button.dataset.forget !== undefined) trigger('forget', {});
});

// On a phone the matches are far below the picture. Filters, which lie between, do not scroll.
watch('value', () => {
  if (!window.personSearchAsked) return;
  window.personSearchAsked = false;
  if (!window.matchMedia('(max-width: 760px)').matches) return;
  const calm = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
  element.scrollIntoView({ behavior: calm ? 'auto' : 'smooth', block: 'start' });
});
