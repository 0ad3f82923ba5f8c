// What the whole page needs beside its parts.
watch('value', () => {
  for (const place of document.querySelectorAll('[data-address]')) place.textContent = location.origin + location.pathname;
});

// Gradio names its upload buttons otherwise than they read, so that nobody can say what they see.
const mend = () => {
  for (const button of document.querySelectorAll('.upload-container[aria-label]')) button.removeAttribute('aria-label');
};
new MutationObserver(mend).observe(document.body, { childList: true, subtree: true, attributes: true, attributeFilter: ['aria-label'] });
mend();
