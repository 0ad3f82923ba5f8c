// Groups of stays: rows to open and to merge, and the dialog of one, from which stays go elsewhere.
{
  const chosen = (name) =>
    [...element.querySelectorAll(`[data-${name}]:checked`)].map((box) => Number(box.dataset[name]));

  const update = () => {
    const [groups, stays] = [chosen('choose'), chosen('part')];
    const count = element.querySelectorAll('[data-part]').length;
    const set = (name, off) => element.querySelectorAll(`[data-${name}]`).forEach((part) => { part.disabled = off; });
    set('merge', groups.length < 2);
    set('nobody', !groups.length);
    set('nobody-stays', !stays.length);
    set('split', !stays.length || stays.length === count);
    set('move', !stays.length || !element.querySelector('[data-target]')?.value);
    set('target', !stays.length);
  };
  element.addEventListener('change', update);

  // Parts that are drawn anew keep what was ticked and typed in those before them.
  watch('value', () => {
    element.querySelectorAll('[type=checkbox]').forEach((box) => { box.checked = false; });
    element.querySelectorAll('[data-name]').forEach((field) => { field.value = field.defaultValue; });
    update();
  });

  element.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    const asked = button.dataset;
    if (asked.group !== undefined) trigger('group', { group: Number(asked.group) });
    if (asked.more !== undefined) trigger('more', {});
    if (asked.merge !== undefined) trigger('merge', { groups: chosen('choose') });
    if (asked.undo !== undefined) trigger('undo', {});
    if (asked.nobody !== undefined) trigger('nobody', { groups: chosen('choose') });
    if (asked.hidden !== undefined) trigger('hidden', {});
    if (asked.somebody !== undefined) trigger('somebody', { group: Number(asked.somebody) });
    if (asked.nobodyStays !== undefined) {
      trigger('nobody', { group: Number(asked.nobodyStays), stays: chosen('part') });
    }
    if (asked.tick !== undefined) {
      element.querySelectorAll('[data-doubtful] [data-choose]').forEach((box) => { box.checked = true; });
      update();
    }
    if (asked.save !== undefined) save(button);
    if (asked.split !== undefined) trigger('split', { group: Number(asked.split), stays: chosen('part') });
    if (asked.move !== undefined) {
      const into = Number(element.querySelector('[data-target]').value);
      trigger('move', { into, stays: chosen('part') });
    }
  });

  const save = (button) => {
    const name = element.querySelector('[data-name]').value;
    trigger('name', { group: Number(button.dataset.save), name });
  };

  element.addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && event.target.matches('[data-name]')) save(element.querySelector('[data-save]'));
  });
}
