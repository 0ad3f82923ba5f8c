// The browser's own dialog keeps the focus inside, closes on Escape and gives the focus back.
watch('value', () => {
  const dialog = element.querySelector('dialog');
  if (dialog && !dialog.open) dialog.showModal();
});

element.addEventListener('click', (event) => {
  const dialog = element.querySelector('dialog');
  if (!dialog) return;
  const button = event.target.closest('button');
  const asked = button ? button.dataset : {};
  if (asked.same !== undefined) trigger('same', { place: Number(asked.same) });
  if (asked.show !== undefined) trigger('show', { place: Number(asked.show) });
  if (asked.stay !== undefined) trigger('stay', { stay: Number(asked.stay) });
  if (asked.play !== undefined) {
    button.disabled = true;
    button.textContent = 'Cutting the clip …';
    trigger('play', { stay: Number(asked.play), place: asked.at === undefined ? null : Number(asked.at) });
  }
  // The search may be on another tab than this dialog.
  if (asked.seek !== undefined) window.dispatchEvent(new CustomEvent('person-search-seek', { detail: Number(asked.seek) }));
  if (asked.erase !== undefined) {
    button.disabled = true;
    trigger('erase', { kind: asked.erase, number: Number(asked.erased) });
  }
  // A click on the dialog itself is one on the dark area around its content.
  if (asked.judge !== undefined) trigger('judge', { verdict: asked.judge, place: Number(asked.at) });
  if (asked.same !== undefined || asked.judge !== undefined || asked.seek !== undefined || event.target === dialog || asked.close !== undefined) dialog.close();
});

element.addEventListener('keydown', (event) => {
  const key = { ArrowLeft: 'Previous match', ArrowRight: 'Next match' }[event.key];
  if (!key || event.target.closest('video, .ps-sights')) return;
  element.querySelector(`[aria-label="${key}"]:not(:disabled)`)?.click();
});
