// The fields of time: the browser's picker where the gallery has dates, moments to choose from where
// it has a video's own clock. What they hold is the time of day that the page writes everywhere.
const dress = () => {
  const clock = element.querySelector('[data-clock]')?.dataset ?? {};
  for (const id of ['from', 'until', 'begins']) {
    const field = document.querySelector(`#${id} input`);
    if (!field) continue;
    const isDate = id === 'begins' || clock.clock === 'dates';
    const type = isDate ? 'datetime-local' : 'text';
    if (field.type !== type) field.type = type;
    if (isDate) field.step = 1;
    const moments = id !== 'begins' && clock.clock === 'video';
    const set = (name, value) => (value ? field.setAttribute(name, value) : field.removeAttribute(name));
    set('list', moments ? 'ps-moments' : '');
    // The picker opens at the time of the footage, not at today.
    set('min', isDate && id !== 'begins' ? clock.first : '');
    set('max', isDate && id !== 'begins' ? clock.last : '');
    const free = clock.clock === 'both' ? '2025-06-01 09:30 or 0:01:30' : '0:00:00';
    set('placeholder', isDate ? '' : free);
  }
};
watch('value', dress);
new MutationObserver(dress).observe(document.body, { childList: true, subtree: true });
dress();

// Once a time is complete: not at each letter.
document.addEventListener('change', (event) => {
  if (event.target.closest('#from, #until')) trigger('ask', {});
});
