// Parts of a page that follow the server without jumping.
//   <div data-live="name"></div>                    shows what <template data-live-for="name"> last brought
//   data-key on a row or part                       tells the same one from another when they move
//   data-address="state=running&page="              a button that writes into the address, then data-then
//   <input data-address-name="q" data-then="#id">   the same while somebody types
//   data-choose="id"                                a box of the list; what was chosen survives every refresh
//   data-follow                                     scrolls with its end while somebody is there
//   data-own                                        a script's own: what is inside is left to it (data-key makes it anew)
// What did not change is not touched, so focus, scrolling, selected text and a half-pressed button stay as they are.
// When the server cannot be reached the page says so, asks again, and goes on from there.
(() => {
  "use strict";
  const KEPT = new Set(["open", "disabled", "data-at-end"]); // the page's own, not the server's

  const morph = (now, next) => {
    if (now.dataset?.own !== undefined) return;
    for (const { name } of [...now.attributes]) if (!next.hasAttribute(name) && !KEPT.has(name)) now.removeAttribute(name);
    for (const { name, value } of next.attributes) {
      if (now.getAttribute(name) === value || KEPT.has(name)) continue;
      if (name === "datetime") now.textContent = next.textContent; // app.js makes it relative again
      now.setAttribute(name, value);
    }
    if (now.nodeName !== "TIME") morphInside(now, next);
  };
  const keyOf = (node) => node?.dataset?.key;
  const morphInside = (now, next) => {
    let at = now.firstChild;
    for (const wanted of [...next.childNodes]) {
      const key = keyOf(wanted);
      if (key !== undefined && keyOf(at) !== key) {
        const found = [...now.children].find((child) => child.dataset.key === key);
        now.insertBefore(found || wanted.cloneNode(true), at);
        if (found) morph(found, wanted);
        continue;
      }
      if (!at || at.nodeName !== wanted.nodeName || keyOf(at) !== key) {
        now.insertBefore(wanted.cloneNode(true), at);
        if (at && keyOf(at) === undefined) at = drop(at);
        continue;
      }
      if (at.nodeType === Node.ELEMENT_NODE) morph(at, wanted);
      else if (at.nodeValue !== wanted.nodeValue) at.nodeValue = wanted.nodeValue;
      at = at.nextSibling;
    }
    while (at) at = drop(at);
  };
  const drop = (node) => { const after = node.nextSibling; node.remove(); return after; };

  const show = () => {
    for (const template of document.querySelectorAll("template[data-live-for]")) {
      const place = document.querySelector(`[data-live="${template.dataset.liveFor}"]`);
      if (!place || place.shown === template) continue;
      place.shown = template;
      morphInside(place, template.content);
      place.toggleAttribute("data-filled", true);
      for (const box of place.querySelectorAll("[data-follow]")) if (box.dataset.atEnd !== "no") box.scrollTop = box.scrollHeight;
    }
    choose();
  };

  document.addEventListener("scroll", (event) => {
    const box = event.target;
    if (box.dataset?.follow === undefined) return;
    box.dataset.atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 24 ? "yes" : "no";
  }, true);

  // The address is the page's state: a filter, a search or a page number is written there, then the page asks anew.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-address]");
    if (!button) return;
    event.preventDefault();
    window.tuneroomAddress(Object.fromEntries(new URLSearchParams(button.dataset.address)));
    window.tuneroomPress(button.dataset.then);
  });
  let typing;
  document.addEventListener("input", (event) => {
    const name = event.target.dataset?.addressName;
    if (!name) return;
    clearTimeout(typing);
    typing = setTimeout(() => {
      window.tuneroomAddress({ [name]: event.target.value.trim(), page: "" });
      window.tuneroomPress(event.target.dataset.then);
    }, 250);
  });

  // Rows that somebody chose, on whatever page of the list they stand.
  const chosen = new Set();
  const choose = () => {
    for (const box of document.querySelectorAll("[data-choose]")) box.checked = chosen.has(box.dataset.choose);
    const bar = document.querySelector("[data-chosen]");
    if (!bar) return;
    const most = Number(bar.dataset.most);
    const word = chosen.size === 1 ? "1 run chosen; choose another to compare"
      : chosen.size > most ? `${chosen.size} runs chosen; at most ${most} can be compared` : `${chosen.size} runs chosen`;
    if (bar.hidden !== (chosen.size === 0)) bar.hidden = chosen.size === 0;
    const told = bar.querySelector("[data-count]");
    if (told.textContent !== word) told.textContent = word;
    bar.querySelector("[data-compare]").disabled = chosen.size < 2 || chosen.size > most;
  };
  document.addEventListener("change", (event) => {
    const id = event.target.dataset?.choose;
    if (!id) return;
    event.target.checked ? chosen.add(id) : chosen.delete(id);
    choose();
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-choose-none]")) { chosen.clear(); choose(); }
    const go = event.target.closest("[data-compare]");
    if (go) location.assign(`/runs?compare=${[...chosen].map(encodeURIComponent).join(",")}`);
  });

  // A lost connection: pages of this kind only look, so asking again changes nothing.
  const ASK_AGAIN_MS = 1500;
  const ask = window.fetch.bind(window);
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const isLook = (request) => {
    const url = typeof request === "string" ? request : request?.url || String(request);
    return url.includes("/gradio_api/run/predict") && document.querySelector("[data-live]") !== null;
  };
  const tell = (kind) => {
    let box = document.getElementById("tr-connection");
    if (!kind) { box?.remove(); return; }
    if (box?.dataset.kind === kind) return;
    if (!box) {
      box = document.createElement("div");
      box.id = "tr-connection";
      box.setAttribute("role", "status");
      document.body.append(box);
    }
    box.dataset.kind = kind;
    if (kind === "lost") box.textContent = "Connection lost, trying again …  Runs go on without this page.";
    else {
      box.textContent = "You are signed out. ";
      const link = document.createElement("a");
      link.href = location.href;
      link.textContent = "Sign in again";
      box.append(link);
    }
  };
  window.fetch = async (request, options) => {
    if (!isLook(request)) return ask(request, options);
    for (;;) {
      try {
        const response = await ask(request instanceof Request ? request.clone() : request, options);
        if (![502, 503, 504].includes(response.status)) {
          tell(response.status === 401 ? "out" : null);
          return response;
        }
      } catch (error) {
        if (options?.signal?.aborted) throw error;
      }
      tell("lost");
      await wait(ASK_AGAIN_MS);
    }
  };

  const start = () => {
    show();
    new MutationObserver(show).observe(document.body, { childList: true, subtree: true });
  };
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
})();
