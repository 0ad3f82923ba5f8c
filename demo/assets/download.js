// The case is in the page as base64: it is saved from here, and nothing of it stays.
watch('value', () => {
  for (const button of document.querySelectorAll('#results [data-export]')) {
    button.disabled = false;
    button.textContent = 'Export these matches';
  }
  const made = element.querySelector('[data-zip]');
  if (!made) return;
  const bytes = Uint8Array.from(atob(made.dataset.zip), (letter) => letter.charCodeAt(0));
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([bytes], { type: made.dataset.type ?? 'application/zip' }));
  link.download = made.dataset.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  delete made.dataset.zip;
  if (made.dataset.type) return;
  // For the eye it stands beside the button; here it is read out.
  for (const hint of document.querySelectorAll('#results .ps-export .ps-hint')) hint.textContent = made.textContent;
});
