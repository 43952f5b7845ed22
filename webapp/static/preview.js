// One row as a base is trained on it: the tokens, which of them are learnt, and where it is too long.
//   <div data-own data-preview="file id">    its form's fields are kept in the address; answers come from our interface
// Texts of rows, tokens and refusals are textContent, never markup.
(() => {
  "use strict";
  const TOKENS_AT_ONCE = 4000; // more spans than that make a browser slow; the rest waits behind a button
  const KEPT_ANSWERS = 60;
  const QUICK_MS = 1500; // a worker that answers so fast is asked for the next row in advance
  const SKELETON_AFTER_MS = 200;
  const part = (...given) => window.tuneroomPart(...given), count = (value) => window.tuneroomNumber(value);

  const begin = (root) => {
    const form = root.querySelector("form"), place = root.querySelector(".tr-pv-answer");
    const rowField = root.querySelector("[name=row]"), ids = root.querySelector("[data-ids]");
    const path = `/api/v1/files/${encodeURIComponent(root.dataset.preview)}/preview`;
    const answers = new Map();
    let shown = null, asking = null, typing = 0;

    const settings = () => {
      const { base, max, over, train_on, args } = form.elements;
      return { base: base.value, max_length: Number(max.value), over_long: over.value, train_on: train_on.value,
        template_arguments: argumentsOf(args.value) };
    };
    const keep = () => {
      const { base, max, over, train_on, args } = form.elements;
      window.tuneroomAddress({ base: base.value, max: max.value, over: chosen(over), train_on: chosen(train_on), args: args.value.trim() });
    };
    const chosen = (field) => (field.selectedIndex > 0 ? field.value : "");

    const ask = async (wish, signal) => {
      const body = { ...settings(), ...wish }, key = JSON.stringify(body);
      if (answers.has(key)) return { told: answers.get(key), took: 0 };
      const began = performance.now();
      const { told, error, stopped } = await window.tuneroomSend("POST", path, body, signal);
      if (told) {
        answers.set(key, told);
        if (answers.size > KEPT_ANSWERS) answers.delete(answers.keys().next().value);
      }
      return { told, error, stopped, took: performance.now() - began };
    };

    const show = async (wish) => {
      asking?.abort();
      const mine = (asking = new AbortController());
      const field = form.elements.max;
      if (!field.checkValidity()) return refuse(`${field.value || "Nothing"} was given as the longest row; 16 to 131,072 tokens are possible.`, null);
      place.setAttribute("aria-busy", "true");
      const patience = setTimeout(() => { if (!shown) place.replaceChildren(skeleton()); }, SKELETON_AFTER_MS);
      const { told, error, stopped, took } = await ask(wish, mine.signal);
      clearTimeout(patience);
      if (stopped || mine !== asking) return;
      place.setAttribute("aria-busy", "false");
      if (error) return refuse(error.message, wish);
      shown = told;
      rowField.value = told.row;
      window.tuneroomAddress({ row: String(told.row) });
      for (const button of root.querySelectorAll("[data-step]")) button.disabled = told[button.dataset.step] === null;
      place.replaceChildren(...answer(told, settings().max_length));
      if (took && took < QUICK_MS && told.after !== null) ask({ row: told.after }, undefined);
    };
    const refuse = (sentence, wish) => {
      place.setAttribute("aria-busy", "false");
      const box = part("div", "tr-card tr-pv-refused");
      box.append(part("p", "tr-error", sentence));
      box.firstChild.setAttribute("role", "alert");
      const row = part("div", "tr-actions");
      if (wish) row.append(press("Try again", () => show(wish)));
      if (wish?.jump) row.append(press("Count tokens", (event) => counted(event.target, wish)));
      if (wish && shown) row.append(press(`Back to row ${count(shown.row)}`, () => show({ row: shown.row })));
      box.append(row);
      place.replaceChildren(box);
    };
    // A jump needs the lengths of all rows: they are counted for these very settings, then the jump is made.
    const counted = async (button, wish) => {
      const { base, train_on, template_arguments } = settings(), body = { base, train_on, template_arguments };
      button.disabled = true;
      const { told, error } = await window.tuneroomSend("POST", path.replace(/preview$/, "tokens"), body);
      const problem = error || !told.job ? error?.message
        : await window.tuneroomFollow(told.job.id, () => { button.textContent = "Counting tokens ..."; return button.isConnected; });
      if (button.isConnected) problem ? refuse(problem, wish) : show(wish);
    };
    const press = (words, then) => {
      const button = part("button", "tr-button tr-small", words);
      button.type = "button";
      button.onclick = then;
      return button;
    };

    const answer = (told, most) => {
      const parts = [];
      if (told.problem) {
        const box = part("div", "tr-card tr-pv-refused");
        box.append(part("p", "tr-error", told.problem), part("p", "tr-hint", "Training leaves this row out. Mend it in the rows, or choose another base."));
        box.append(press("Open this row", () => window.tuneroomGo({ tab: "", row: String(told.row) }, root.dataset.ask)));
        parts.push(box);
      }
      for (const sentence of told.notes || []) parts.push(part("p", "tr-note tr-pv-note", sentence));
      for (const sequence of told.sequences) parts.push(sequenceOf(sequence, most));
      return parts;
    };
    const sequenceOf = (sequence, most) => {
      const card = part("section", "tr-card tr-flush tr-pv-sequence"), head = part("div", "tr-pv-head");
      if (sequence.label) head.append(part("strong", "", sequence.label));
      const share = sequence.tokens ? Math.round((100 * sequence.trained_tokens) / sequence.tokens) : 0;
      head.append(figure(count(sequence.tokens), sequence.tokens === 1 ? "token" : "tokens"), figure(count(sequence.trained_tokens), `trained (${share} %)`), fitOf(sequence, most));
      card.append(head);
      if (!sequence.is_used && sequence.tokens > most) {
        const left = part("div", "tr-pv-left");
        const over = sequence.tokens - most;
        left.append(part("span", "", `Left out of training: ${count(over)} token${over === 1 ? "" : "s"} over the longest row of ${count(most)}. An answer is never cut.`));
        left.append(press(`Allow ${count(sequence.tokens)} tokens`, () => { form.elements.max.value = sequence.tokens; changed(); }));
        card.append(left);
      }
      if (sequence.is_used && !sequence.trained_tokens) card.append(part("p", "tr-pv-left", "Nothing here is trained: the model would learn nothing from this row."));
      const text = part("div", "tr-pv-text");
      text.setAttribute("translate", "no");
      fill(text, sequence, most, 0);
      card.append(text);
      return card;
    };
    const fill = (text, sequence, most, from) => {
      const until = Math.min(sequence.pieces.length, from + TOKENS_AT_ONCE);
      const parts = document.createDocumentFragment();
      for (let index = from; index < until; index += 1) {
        if (index === most && sequence.tokens > most) parts.append(part("span", "tr-pv-cut", `longest row: ${count(most)} tokens`));
        parts.append(token(sequence.pieces[index], index >= most));
      }
      text.append(parts);
      if (until < sequence.pieces.length) {
        const rest = press(`Show ${count(sequence.pieces.length - until)} more tokens`, () => { rest.remove(); fill(text, sequence, most, until); });
        rest.classList.add("tr-pv-rest");
        text.append(rest);
      }
    };
    const token = (piece, isBeyond) => {
      const span = part("span", "tr-tok");
      if (piece.trained) span.classList.add("tr-tok-on");
      if (piece.special) span.classList.add("tr-tok-special");
      if (isBeyond) span.classList.add("tr-tok-beyond");
      span.dataset.id = piece.id;
      span.title = `token ${piece.id} · ${piece.trained ? "trained" : "read only"}${piece.special ? " · special" : ""}`;
      const lines = piece.text.split("\n");
      lines.forEach((line, number) => {
        if (number) span.append(part("span", "tr-tok-break", "\n"));
        if (line) span.append(line);
      });
      if (!piece.text) span.classList.add("tr-tok-part");
      return span;
    };
    const figure = (value, words) => {
      const box = part("span", "tr-pv-figure");
      box.append(part("b", "", value), ` ${words}`);
      return box;
    };
    const fitOf = (sequence, most) => {
      const [look, shape, word] = !sequence.is_used ? ["warned", "▲", "left out"]
        : sequence.trained_tokens ? ["succeeded", "●", `fits in ${count(most)}`] : ["warned", "▲", "nothing trained"];
      const chip = part("span", `tr-chip tr-${look}`), sign = part("span", "", shape);
      sign.setAttribute("aria-hidden", "true");
      chip.append(sign, ` ${word}`);
      return chip;
    };
    const skeleton = () => {
      const card = part("div", "tr-card tr-pv-skeleton");
      card.append(part("p", "tr-hint", "Writing the row as this base reads it ..."));
      for (const width of [92, 78, 85, 60, 71]) {
        const line = part("span", "tr-pv-line");
        line.style.width = `${width}%`;
        card.append(line);
      }
      return card;
    };

    const wanted = () => Math.max(1, Math.floor(Number(rowField.value)) || 1);
    const changed = () => { keep(); show({ row: shown?.row || wanted() }); };
    const step = (name) => { const next = shown?.[name]; if (next) show({ row: next }); };
    form.addEventListener("submit", (event) => { event.preventDefault(); changed(); });
    form.addEventListener("input", (event) => {
      clearTimeout(typing);
      typing = setTimeout(changed, event.target.matches("select") ? 0 : 450);
    });
    rowField.addEventListener("change", () => show({ row: wanted() }));
    ids.addEventListener("change", () => root.classList.toggle("tr-pv-ids", ids.checked));
    root.addEventListener("click", (event) => {
      const button = event.target.closest("[data-step],[data-jump]");
      if (button?.dataset.step) step(button.dataset.step);
      else if (button) show({ row: shown?.row || 1, jump: button.dataset.jump });
    });
    const keys = (event) => {
      if (!root.isConnected) { document.removeEventListener("keydown", keys); return; }
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select, dialog")) return;
      if (event.key === "j" || event.key === "ArrowRight") step("after");
      else if (event.key === "k" || event.key === "ArrowLeft") step("before");
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", keys);
    show({ row: wanted() });
  };

  // "a = true, b = 3, c = word": what chat templates take are truth values, whole numbers and words.
  const argumentsOf = (text) => {
    const found = {};
    for (const line of text.split(/[,\n]/)) {
      const [name, ...rest] = line.split("=");
      if (!name.trim() || !rest.length) continue;
      const value = rest.join("=").trim();
      found[name.trim()] = /^(true|false)$/i.test(value) ? value.toLowerCase() === "true" : /^-?\d{1,15}$/.test(value) ? Number(value) : value;
    }
    return found;
  };

  window.tuneroomEach("[data-preview]", begin);
})();
