// The visitor's picture: click a person, or draw a box by dragging or by two clicks on its corners.
let isDrawing = false; // the button "Draw a box" is down
let corner = null; // the first corner, in pixels of the picture
let pressed = null; // where the pointer went down

const stage = () => element.querySelector('.ps-stage');
const clamp = (value, most) => Math.min(Math.max(value, 0), most);

function toPixels(event) {
  const area = stage().getBoundingClientRect();
  const { width, height } = stage().dataset;
  return {
    x: clamp(((event.clientX - area.left) / area.width) * width, Number(width)),
    y: clamp(((event.clientY - area.top) / area.height) * height, Number(height)),
  };
}

function setDrawing(on) {
  isDrawing = on;
  corner = null;
  stage()?.classList.toggle('ps-drawing', on);
  element.querySelector('[data-draw]')?.setAttribute('aria-pressed', String(on));
}

function showBand(a, b) {
  const band = element.querySelector('.ps-band');
  const { width, height } = stage().dataset;
  band.style.left = `${(100 * Math.min(a.x, b.x)) / width}%`;
  band.style.top = `${(100 * Math.min(a.y, b.y)) / height}%`;
  band.style.width = `${(100 * Math.abs(a.x - b.x)) / width}%`;
  band.style.height = `${(100 * Math.abs(a.y - b.y)) / height}%`;
  band.hidden = false;
}

function isFar(a, b) {
  const scale = stage().getBoundingClientRect().width / Number(stage().dataset.width);
  return Math.hypot(a.x - b.x, a.y - b.y) * scale > 8;
}

function mark(number) {
  element.querySelectorAll('[data-own]').forEach((own) => own.remove());
  element.querySelectorAll('.ps-outline').forEach((outline) =>
    outline.classList.toggle('ps-chosen', outline.dataset.number === number));
  element.querySelectorAll('.ps-chip').forEach((chip) =>
    chip.setAttribute('aria-pressed', String(chip.dataset.number === number)));
}

function finish(a, b) {
  mark(null);
  showBand(a, b);
  setDrawing(false);
  window.personSearchAsked = true;
  const [left, right] = [Math.min(a.x, b.x), Math.max(a.x, b.x)];
  const [top, bottom] = [Math.min(a.y, b.y), Math.max(a.y, b.y)];
  trigger('draw', { box: [left, top, right, bottom] });
}

element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button || !element.contains(button)) return;
  if (button.dataset.draw !== undefined) return setDrawing(!isDrawing);
  if (button.dataset.number === undefined || isDrawing) return;
  element.querySelector('.ps-band').hidden = true;
  mark(button.dataset.number);
  window.personSearchAsked = true;
  trigger('pick', { number: Number(button.dataset.number) });
});

element.addEventListener('pointerdown', (event) => {
  // A finger scrolls unless the button is down; a mouse may always drag a box.
  if (!event.target.closest('.ps-stage')) return;
  if (isDrawing || (event.pointerType === 'mouse' && event.button === 0)) pressed = toPixels(event);
});

window.addEventListener('pointermove', (event) => {
  if (!stage()) return;
  const start = pressed || corner;
  if (start && isFar(start, toPixels(event))) {
    stage().classList.add('ps-dragging');
    showBand(start, toPixels(event));
  }
});

window.addEventListener('pointerup', (event) => {
  if (!pressed || !stage()) return;
  const end = toPixels(event);
  const start = pressed;
  pressed = null;
  stage().classList.remove('ps-dragging');
  if (isFar(start, end)) return finish(start, end);
  if (!isDrawing) return;
  if (corner) return finish(corner, end);
  corner = end;
});

window.addEventListener('pointercancel', () => { pressed = null; });

window.addEventListener('keydown', (event) => {
  if (event.key === 'Escape' && isDrawing) setDrawing(false);
});

// A new picture comes without the old one's state.
watch('value', () => { isDrawing = false; corner = null; pressed = null; });
