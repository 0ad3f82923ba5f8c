element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  if (button.dataset.zoom !== undefined) zoom(button.closest('.ps-timeline'), button.dataset.zoom);
  if (button.dataset.place !== undefined) trigger('show', { place: Number(button.dataset.place) });
  if (button.dataset.forget !== undefined) trigger('forget', {});
  if (button.dataset.undo !== undefined) trigger('undo', { count: button.dataset.undo });
  if (button.dataset.clear !== undefined) trigger('clear', {});
  if (button.dataset.copy !== undefined) copyLink(button);
  if (button.dataset.export !== undefined) {
    button.disabled = true;
    button.textContent = 'Making the case …';
    trigger('export', {});
  }
});

// A search has a link: the address holds it, behind the #, which is sent to nobody.
const SEARCH = '#search?';

watch('value', () => {
  const link = element.querySelector('[data-link]')?.dataset.link;
  if (link && location.hash !== SEARCH + link) history.replaceState(null, '', SEARCH + link);
});

function openLink() {
  if (location.hash.startsWith(SEARCH)) trigger('open', { link: location.hash.slice(SEARCH.length) });
}
window.addEventListener('hashchange', openLink);
setTimeout(openLink);

async function copyLink(button) {
  const said = button.parentElement.querySelector('[role=status]');
  try {
    await navigator.clipboard.writeText(location.href);
    said.textContent = `Copied. ${said.dataset.hint ?? ''}`;
  } catch {
    said.textContent = 'The browser does not let the page copy: take the link from the address bar.';
  }
}

window.addEventListener('person-search-seek', (event) => {
  document.querySelector('[role=tab][data-tab-id=search]')?.click();
  window.personSearchAsked = true;
  trigger('seek', { stay: event.detail });
});

// The timeline: which part of the whole time is in view, as two numbers of seconds.
function zoom(line, action) {
  const first = Number(line.dataset.first);
  const last = Number(line.dataset.last);
  let from = Number(line.dataset.from ?? first);
  let to = Number(line.dataset.to ?? last);
  const middle = (from + to) / 2;
  const half = (to - from) / 2;
  if (action === 'in') [from, to] = [middle - half / 2, middle + half / 2];
  if (action === 'out') [from, to] = [middle - half * 2, middle + half * 2];
  if (action === 'earlier') [from, to] = [from - half, to - half];
  if (action === 'later') [from, to] = [from + half, to + half];
  if (action === 'all') [from, to] = [first, last];
  const length = Math.min(Math.max(to - from, 2), last - first);
  from = Math.min(Math.max(from, first), last - length);
  Object.assign(line.dataset, { from, to: from + length });
  place(line);
}

function place(line) {
  const first = Number(line.dataset.first);
  const whole = Number(line.dataset.last) - first;
  const from = Number(line.dataset.from ?? first);
  const length = Number(line.dataset.to ?? first + whole) - from;
  for (const moving of line.querySelectorAll('.ps-moving')) {
    moving.style.width = `${(100 * whole) / length}%`;
    moving.style.left = `${(-100 * (from - first)) / length}%`;
  }
  const axis = line.querySelector('.ps-axis');
  axis.replaceChildren();
  const room = Math.max(2, Math.floor(axis.clientWidth / 90));
  // The server's time of day, in which the page writes all others, too.
  const shift = Number(line.dataset.shift);
  const step = STEPS.find((seconds) => length / seconds <= room) ?? Math.ceil(length / room / 86400) * 86400;
  for (let time = Math.ceil((from + shift) / step) * step - shift; time <= from + length; time += step) {
    const share = (time - from) / length;
    // Half a label must have room on both sides.
    if (Math.min(share, 1 - share) * axis.clientWidth < 28) continue;
    const tick = document.createElement('span');
    tick.style.left = `${100 * share}%`;
    tick.textContent = written(time + shift, step, Number(line.dataset.dated));
    axis.append(tick);
  }
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

function written(time, step, dated) {
  const two = (number) => String(Math.floor(number)).padStart(2, '0');
  if (!dated) return `${Math.floor(time / 3600)}:${two((time / 60) % 60)}:${two(time % 60)}`;
  const date = new Date(time * 1000);
  if (step >= 86400) return `${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`;
  const clock = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}`;
  return step < 60 ? `${clock}:${two(date.getUTCSeconds())}` : clock;
}

element.addEventListener('keydown', (event) => {
  const cards = [...element.querySelectorAll('.ps-card button')];
  const card = cards.indexOf(event.target.closest('.ps-card button'));
  const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (card >= 0 && move) {
    cards[Math.min(Math.max(card + move, 0), cards.length - 1)].focus();
    event.preventDefault();
  }
});

element.addEventListener('keydown', (event) => {
  const line = event.target.closest('.ps-timeline');
  if (!line) return;
  const action = { '+': 'in', '=': 'in', '-': 'out', 0: 'all' }[event.key];
  if (action) zoom(line, action);
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const bars = [...line.querySelectorAll('.ps-stay')].sort((a, b) => parseFloat(a.style.left) - parseFloat(b.style.left));
  const at = bars.indexOf(event.target);
  if (step && at >= 0) bars[Math.min(Math.max(at + step, 0), bars.length - 1)].focus();
  if (action || (step && at >= 0)) event.preventDefault();
});

// A bar that has the focus is in view.
element.addEventListener('focusin', (event) => {
  if (!event.target.matches('.ps-stay')) return;
  const line = event.target.closest('.ps-timeline');
  const first = Number(line.dataset.first);
  const time = first + (parseFloat(event.target.style.left) / 100) * (Number(line.dataset.last) - first);
  const from = Number(line.dataset.from ?? first);
  const to = Number(line.dataset.to ?? line.dataset.last);
  if (time >= from && time <= to) return;
  Object.assign(line.dataset, { from: time - (to - from) / 2, to: time + (to - from) / 2 });
  zoom(line, 'stay');
});

new ResizeObserver(() => element.querySelectorAll('.ps-timeline').forEach(place)).observe(element);
watch('value', () => element.querySelectorAll('.ps-timeline').forEach(place));

// On a phone the matches are far below the picture. Filters, which lie between, do not scroll.
watch('value', () => {
  if (!window.personSearchAsked) return;
  window.personSearchAsked = false;
  if (!window.matchMedia('(max-width: 760px)').matches) return;
  const calm = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
  element.scrollIntoView({ behavior: calm ? 'auto' : 'smooth', block: 'start' });
});
