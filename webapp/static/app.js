// What every page needs and Gradio does not have. Works on attributes, so that views stay plain HTML:
//   data-call="DELETE /api/v1/..."   a button that asks (data-confirm), calls our own interface, then data-then
//   data-confirm="Delete ...?"       the question, naming the thing; data-yes="Delete" the answer's word
//   data-then="reload" | "/path" | "#element-id"   reload, go there, or click that hidden button (a page's refresh)
//   data-copy="text" or data-copy-from="#id"       copies
//   data-theme-switch                              light / dark
//   data-search                                    focused by "/"
//   data-submit inside a data-form                 clicked by Ctrl+Enter
//   data-text-into="#id textarea"                  on a file input: puts the chosen file's text there
//   data-field="id"                                opens the advanced settings and goes to the field with this id
//   <time datetime>                                shown relative, exact on hover
(() => {
  "use strict";
  const UNITS = [[31536000, "y"], [2592000, "mo"], [86400, "d"], [3600, "h"], [60, "min"]];
  const relative = (at) => {
    const seconds = (Date.now() - at) / 1000;
    const ahead = seconds < 0;
    const far = Math.abs(seconds);
    if (far < 45) return ahead ? "in a moment" : "just now";
    const [unit, name] = UNITS.find(([size]) => far >= size * 0.95) || [60, "min"];
    const count = Math.max(1, Math.round(far / unit));
    return ahead ? `in ${count} ${name}` : `${count} ${name} ago`;
  };
  const freshen = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const words = relative(Date.parse(time.dateTime));
      if (time.textContent !== words) time.textContent = words;
    }
  };
  const say = (sentence, isError) => {
    let box = document.getElementById("tr-toasts");
    if (!box) {
      box = document.createElement("div");
      box.id = "tr-toasts";
      box.setAttribute("role", "status");
      document.body.append(box);
    }
    const toast = document.createElement("p");
    toast.className = isError ? "tr-toast tr-toast-error" : "tr-toast";
    toast.textContent = sentence;
    box.append(toast);
    setTimeout(() => toast.remove(), isError ? 10000 : 4000);
  };
  const ask = (question, yes) => new Promise((resolve) => {
    const dialog = document.createElement("dialog");
    dialog.className = "tr-dialog";
    const text = document.createElement("p");
    text.textContent = question;
    const row = document.createElement("div");
    row.className = "tr-actions";
    const no = document.createElement("button");
    no.className = "tr-button";
    no.textContent = "Keep";
    const go = document.createElement("button");
    go.className = "tr-button tr-danger";
    go.textContent = yes;
    row.append(no, go);
    dialog.append(text, row);
    const end = (answer) => { dialog.close(); dialog.remove(); resolve(answer); };
    no.onclick = () => end(false);
    go.onclick = () => end(true);
    dialog.oncancel = (event) => { event.preventDefault(); end(false); };
    document.body.append(dialog);
    dialog.showModal();
    no.focus();
  });
  const sentenceOf = async (response) => {
    try { return (await response.json()).error.message; } catch { return `The server answered ${response.status}.`; }
  };
  const call = async (button) => {
    const [method, path] = button.dataset.call.split(" ");
    if (button.dataset.confirm && !(await ask(button.dataset.confirm, button.dataset.yes || "Delete"))) return;
    button.disabled = true;
    try {
      const options = { method, headers: {} };
      if (button.dataset.body) {
        options.body = button.dataset.body;
        options.headers["Content-Type"] = "application/json";
      }
      const response = await fetch(path, options);
      if (!response.ok) { say(await sentenceOf(response), true); return; }
      if (button.dataset.done) say(button.dataset.done);
      then(button.dataset.then);
    } catch {
      say("The server cannot be reached. Nothing was changed; try again.", true);
    } finally {
      button.disabled = false;
    }
  };
  const then = (what) => {
    if (!what || what === "reload") location.reload();
    else if (what.startsWith("#")) clickInside(document.querySelector(what));
    else location.assign(what);
  };
  const clickInside = (element) => element && (element.matches("button") ? element : element.querySelector("button"))?.click();
  const copy = async (button) => {
    const from = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
    const text = button.dataset.copy || (from && ("value" in from ? from.value : from.textContent)) || "";
    try { await navigator.clipboard.writeText(text); }
    catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    say("Copied.");
  };
  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-call],[data-copy],[data-copy-from],[data-theme-switch]");
    if (!target) return;
    event.preventDefault();
    if (target.dataset.call) call(target);
    else if (target.hasAttribute("data-theme-switch")) window.tuneroomTheme();
    else copy(target);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-presses]");
    if (button) document.getElementById(button.dataset.presses)?.click();
  });
  const goToField = async (id) => {
    for (let tries = 0; tries < 40 && !document.getElementById(id)?.offsetParent; tries++) {
      if (tries === 0) document.querySelector(".tr-advanced > button")?.click();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const field = document.getElementById(id);
    field?.scrollIntoView({ block: "center" });
    field?.querySelector("input, textarea")?.focus({ preventScroll: true });
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-field]");
    if (button) { event.preventDefault(); goToField(button.dataset.field); }
  });
  document.addEventListener("change", async (event) => {
    const from = event.target.closest("input[type=file][data-text-into]");
    const into = from && document.querySelector(from.dataset.textInto);
    if (!into || !from.files.length) return;
    const file = from.files[0];
    if (file.size > 200000) say(`${file.name} is larger than 200 kB; settings are much smaller. Choose another file.`, true);
    else {
      into.value = await file.text();
      into.dispatchEvent(new Event("input", { bubbles: true }));
    }
    from.value = "";
  });
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.tr-menu[open]"))
      if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
    if (event.key === "/" && !typing) {
      const box = document.querySelector("[data-search] input, [data-search] textarea, .tr-search input, .tr-search textarea");
      if (box) { event.preventDefault(); box.focus(); }
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      clickInside(document.querySelector(".tr-submit"));
    } else if (event.key === "Escape") {
      for (const menu of document.querySelectorAll("details.tr-menu[open]")) menu.open = false;
    }
  });
  // What is in the address is the page's state: lists write their search and page there, without a reload.
  window.tuneroomAddress = (changes) => {
    const url = new URL(location.href);
    for (const [name, value] of Object.entries(changes)) value ? url.searchParams.set(name, value) : url.searchParams.delete(name);
    history.replaceState(null, "", url);
  };
  window.tuneroomSay = say;
  window.tuneroomAsk = ask;
  const start = () => {
    freshen(document);
    new MutationObserver((changes) => {
      if (changes.some((change) => change.addedNodes.length)) freshen(document);
    }).observe(document.body, { childList: true, subtree: true });
    setInterval(() => freshen(document), 15000);
  };
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
})();
