// A server that is asked once for what changes in a burst, and never twice at a time: an answer that was asked for
// earlier could else come later and stay.
//   tuneroomSettle("#train-look")     presses that hidden button a moment after the last call
//   tuneroomSettled("#train-look")    its answer has come; what changed meanwhile is asked for now
(() => {
  "use strict";
  const QUIET_MS = 40;
  const PATIENCE_MS = 10000; // an answer that never came
  const asked = new Map();
  const of = (selector) => {
    if (!asked.has(selector)) asked.set(selector, { timer: 0, since: 0, again: false });
    return asked.get(selector);
  };
  const press = (selector) => {
    Object.assign(of(selector), { since: performance.now(), again: false });
    window.tuneroomPress(selector);
  };
  window.tuneroomSettle = (selector) => {
    const state = of(selector);
    if (state.since && performance.now() - state.since < PATIENCE_MS) { state.again = true; return; }
    clearTimeout(state.timer);
    state.timer = setTimeout(() => press(selector), QUIET_MS);
  };
  window.tuneroomSettled = (selector) => {
    const state = of(selector);
    state.since = 0;
    if (state.again) press(selector);
  };
})();
