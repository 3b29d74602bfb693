'use strict';
// Adds to an open page what the server sends. Without it, the same is there after a reload.
for (const box of document.querySelectorAll('[data-stream]')) {
  const source = new EventSource(box.dataset.stream);
  const state = document.getElementById('stream-state');
  let running = null;
  const say = (text) => { if (state) state.textContent = text; };
  const cell = (name, text) => {
    const span = document.createElement('span');
    span.className = name;
    span.textContent = text;
    return span;
  };
  const add = (row) => {
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    box.querySelector('.dim.empty')?.remove();
    box.append(row);
    while (box.children.length > 2000) box.firstElementChild.remove();
    if (atEnd) box.scrollTop = box.scrollHeight;
  };
  const row = (name, ...cells) => {
    const div = document.createElement('div');
    div.className = name;
    div.append(...cells);
    return div;
  };
  box.scrollTop = box.scrollHeight;
  source.addEventListener('open', () => say('following'));
  source.addEventListener('error', () => say('connection lost; trying again'));
  source.addEventListener('line', (e) => {
    const { src, text, level } = JSON.parse(e.data);
    add(row(`log ${level === 'error' || level === 'warning' ? level : ''}`, cell('src', src), cell('text', text)));
  });
  source.addEventListener('restart', () => { box.replaceChildren(); running = null; });
  source.addEventListener('shown', (e) => {
    const { kind, step, text, took } = JSON.parse(e.data);
    const time = kind === 'end' || kind === 'fail' ? `${took.toFixed(2)} s` : kind === 'begin' ? '…' : '';
    const mark = kind === 'line' ? '' : kind === 'note' ? 'note' : step;
    const made = row(`shown ${['begin', 'end', 'fail', 'line', 'note'].includes(kind) ? kind : ''}`,
      cell('src', mark), cell('text', text), cell('num', time));
    if (running && running.dataset.step === step && (kind === 'end' || kind === 'fail')) running.remove();
    made.dataset.step = step;
    running = kind === 'begin' ? made : kind === 'line' || kind === 'note' ? running : null;
    add(made);
  });
  source.addEventListener('end', (e) => {
    source.close();
    say(JSON.parse(e.data));
    if (box.dataset.reload) location.reload();
  });
}
