// Forms that people fill in about themselves and their team. Works on attributes, as app.js does:
//   form[data-send="POST /api/v1/keys"]   sends its fields as JSON ("a.b" inside "a"); a refusal stands beside the field that caused it
//   data-then="reload" | "/path" | "#id"  after success, as for data-call; data-done="..." a sentence
//   data-reveal="#id" data-from="secret"  shows that element with the answer's field `secret` in it, to copy, once
//   select[data-patch="/api/v1/people/x"] sends {name: value} when changed; data-confirm-value asks first
//   input[type=password]                  gets a button that shows what is typed
(() => {
  "use strict";
  const say = (sentence, isError) => window.tuneroomSay && window.tuneroomSay(sentence, isError);
  const AWAY = "The server cannot be reached. Nothing was changed; try again.";
  const send = async (method, path, body) => {
    let response;
    try {
      response = await fetch(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    } catch { return { error: { message: AWAY } }; }
    let told = {};
    try { told = await response.json(); } catch { /* no body */ }
    if (response.ok) return { told };
    if (response.status === 401) { location.reload(); }
    return { error: told.error || { message: `The server answered ${response.status}.` } };
  };
  const then = (what) => {
    if (!what) return;
    if (what === "reload") location.reload();
    else if (what.startsWith("#")) {
      const found = document.querySelector(what);
      (found && (found.matches("button") ? found : found.querySelector("button")))?.click();
    } else location.assign(what);
  };
  const bodyOf = (form) => {
    const body = {};
    for (const [name, value] of new FormData(form)) {
      const [first, second] = name.split(".");
      if (second) (body[first] ||= {})[second] = value;
      else body[first] = value;
    }
    return body;
  };
  const clear = (form) => {
    for (const old of form.querySelectorAll(".tr-field-problem")) old.remove();
    for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  };
  const blame = (form, error) => {
    const field = error.param && form.elements.namedItem(error.param);
    const problem = document.createElement("span");
    problem.className = "tr-error tr-field-problem";
    problem.setAttribute("role", "alert");
    problem.textContent = error.message;
    if (field && field.closest) {
      (field.closest("label") || field.parentElement).append(problem);
      field.setAttribute("aria-invalid", "true");
      field.focus();
    } else form.append(problem);
  };
  const reveal = (form, told) => {
    const box = document.querySelector(form.dataset.reveal);
    if (!box) return;
    box.querySelector("[data-secret]").textContent = told[form.dataset.from];
    box.hidden = false;
    box.querySelector("[data-copy-from]")?.focus();
  };
  document.addEventListener("submit", async (event) => {
    const form = event.target.closest("form[data-send]");
    if (!form) return;
    event.preventDefault();
    const [method, path] = form.dataset.send.split(" ");
    const button = form.querySelector("button:not([type=button])");
    clear(form);
    button.disabled = true;
    const { told, error } = await send(method, path, bodyOf(form));
    button.disabled = false;
    if (error) { blame(form, error); return; }
    if (form.dataset.reveal) reveal(form, told);
    if (form.dataset.done) say(form.dataset.done);
    form.reset();
    then(form.dataset.then);
  });
  document.addEventListener("change", async (event) => {
    const choice = event.target.closest("select[data-patch]");
    if (!choice) return;
    const before = choice.dataset.value;
    const question = choice.dataset.confirm && choice.dataset.confirm.replace("{}", choice.value);
    if (question && !(await window.tuneroomAsk(question, choice.dataset.yes || "Change"))) { choice.value = before; return; }
    choice.disabled = true;
    const { error } = await send("PATCH", choice.dataset.patch, { [choice.name]: choice.value });
    choice.disabled = false;
    if (error) { choice.value = before; say(error.message, true); return; }
    choice.dataset.value = choice.value;
    if (choice.dataset.done) say(choice.dataset.done.replace("{}", choice.value));
    then(choice.dataset.then);
  });
  const peekable = (root) => {
    for (const field of root.querySelectorAll("input[type=password]:not([data-peek])")) {
      field.dataset.peek = "yes";
      const row = document.createElement("span");
      row.className = "tr-peek";
      const hadFocus = document.activeElement === field || field.autofocus;
      field.replaceWith(row);
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Show";
      button.setAttribute("aria-label", "Show the password");
      button.onclick = () => {
        const shows = field.type === "text";
        field.type = shows ? "password" : "text";
        button.textContent = shows ? "Show" : "Hide";
      };
      row.append(field, button);
      if (hadFocus) field.focus();
    }
  };
  const start = () => {
    peekable(document);
    new MutationObserver((changes) => {
      if (changes.some((change) => change.addedNodes.length)) peekable(document);
    }).observe(document.body, { childList: true, subtree: true });
  };
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
})();
