// What the scripts of several pages share. Text only ever becomes textContent.
//   tuneroomPart("p", "tr-hint", "words")            an element
//   tuneroomSend("POST", path, body, signal)         {told} or {error: {message}}: always a sentence
//   tuneroomPress("#dataset-ask")                     presses the button that this is, or that stands in it
//   tuneroomGo({tab: "report"}, "#dataset-ask")       writes into the address, then lets the page ask anew
//   tuneroomFollow(job id, (job) => ...)             null at its good end, else what went wrong
//   tuneroomEach("[data-preview]", start)            calls start(element) once for each that appears on the page
(() => {
  "use strict";
  const LOOK_MS = 800;
  const AWAY = "The server cannot be reached. Nothing was changed; try again.";
  window.tuneroomPart = (tag, className = "", text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  window.tuneroomSend = async (method, path, body, signal) => {
    let response;
    const options = { method, signal, headers: {} };
    if (body !== undefined) {
      options.body = JSON.stringify(body);
      options.headers["Content-Type"] = "application/json";
    }
    try { response = await fetch(path, options); }
    catch (error) { return { error: { message: AWAY }, stopped: error.name === "AbortError" }; }
    let told = {};
    try { told = await response.json(); } catch { /* no body */ }
    if (response.ok) return { told };
    if (response.status === 401) return { error: { message: "You are signed out. Sign in again in another tab, then try once more." } };
    return { error: told.error || { message: `The server answered ${response.status}. Try again.` } };
  };
  // Looks at a job until its end. `seen(job)` may stop the looking by false. Null, or the sentence of what went wrong.
  window.tuneroomFollow = async (id, seen) => {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      const { told, error } = await window.tuneroomSend("GET", `/api/v1/jobs/${encodeURIComponent(id)}`);
      if (error) return error.message;
      if (seen(told) === false || told.state === "succeeded") return null;
      if (["failed", "cancelled"].includes(told.state)) return told.error?.message || "It did not come to its end. Nothing was changed; try again.";
    }
  };
  window.tuneroomEach = (selector, start) => {
    const seen = new WeakSet();
    const look = () => {
      for (const element of document.querySelectorAll(selector)) {
        if (seen.has(element)) continue;
        seen.add(element);
        start(element);
      }
    };
    const watch = () => {
      look();
      new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
    };
    document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", watch) : watch();
  };
  window.tuneroomPress = (selector) => {
    const found = document.querySelector(selector);
    (found?.matches("button") ? found : found?.querySelector("button"))?.click();
  };
  // The address is the page's state: change it, then let the page ask anew by its hidden button.
  window.tuneroomGo = (changes, then) => {
    window.tuneroomAddress(changes);
    window.tuneroomPress(then);
  };
  window.tuneroomNumber = (count) => Number(count).toLocaleString("en-US");
})();
