// The Playground: one prompt, one seed, up to four models side by side. Works on #tr-playground and our own interface:
//   GET /api/v1/playground                      the models and whether a chat worker is there
//   window.tuneroomAddRow                       makes an answer a row of a dataset; see add_row.js
//   /api/v1/conversations ...                   what is kept; POST .../turns streams the answers of all panes at once
// Closing that stream is Stop: the server tells the workers and keeps what had come. Model text becomes elements only
// through model_text.js; every other text is a text node.
(() => {
  "use strict";
  const API = "/api/v1/conversations";
  const DEFAULTS = { system: "", temperature: 0.7, top_p: 1, max_tokens: 512, seed: 1 };
  const RANGES = { temperature: [0, 2, "Temperature"], top_p: [0.01, 1, "Top-p"], max_tokens: [1, 131072, "Max tokens"], seed: [0, Number.MAX_SAFE_INTEGER, "The seed"] };
  const GROUPS = [["base", "Base models"], ["adapter", "Adapters"], ["merge", "Merges"]];
  const LOOK_AGAIN_MS = 5000;
  const DRAW_EVERY_MS = 60;
  const TWICE_MS = 400; // a second click of a double click is not Stop

  const node = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined && text !== null) made.textContent = text;
    return made;
  };
  const button = (text, className, act) => {
    const made = node("button", className, text);
    made.type = "button";
    made.addEventListener("click", act);
    return made;
  };
  const numbers = (value, digits) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const randomSeed = () => Math.floor(Math.random() * 2 ** 31);

  class Refused extends Error {}
  const call = async (method, path, body, signal) => {
    const options = { method, signal, headers: {} };
    if (body !== undefined) {
      options.body = JSON.stringify(body);
      options.headers["Content-Type"] = "application/json";
    }
    let response;
    try { response = await fetch(path, options); }
    catch (error) {
      if (signal && signal.aborted) throw error;
      throw new Refused("The server cannot be reached. What you typed stays; try again in a moment.");
    }
    if (response.ok) return response;
    if (response.status === 401) throw new Refused("You are signed out. Sign in in another tab, then try again: what you typed stays here.");
    let sentence = `The server answered ${response.status}. Try again.`;
    try { sentence = (await response.json()).error.message; } catch { /* not ours, so not JSON */ }
    throw new Refused(sentence);
  };
  const get = async (path) => (await call("GET", path)).json();

  // Yields the JSON of each `data:` line; Refused when the stream ends without its last line.
  async function* eventsOf(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Refused("broke off");
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data: ")) continue;
        if (line === "data: [DONE]") return;
        yield JSON.parse(line.slice(6));
      }
    }
  }

  class Answer {
    constructor(pane) {
      this.pane = pane;
      this.text = "";
      this.made = null;
      this.error = null;
      this.key = "";
      this.model = "";
      this.draft = null; // what somebody made of it, not saved yet
      this.added = null; // the dataset it went to
      this.element = node("div", "tr-pg-answer");
      this.state = node("p", "tr-pg-state");
      this.body = node("div", "tr-md");
      this.under = node("div", "tr-pg-under");
      this.element.append(this.state, this.body, this.under);
      this.state.hidden = true;
    }

    begin(model, key) {
      Object.assign(this, { text: "", made: null, error: null, draft: null, added: null, model, key, tokens: 0, beganAt: performance.now(), firstAt: null, words: "asking" });
      this.under.replaceChildren();
      this.element.classList.add("tr-pg-live");
      this.draw();
      this.tick();
    }

    // A wait says what it waits for and for how long.
    tick() {
      if (!this.isLive) return;
      const seconds = Math.floor((performance.now() - this.beganAt) / 1000);
      this.state.hidden = Boolean(this.text);
      this.state.textContent = `${this.words} … ${seconds} s`;
    }

    get isLive() { return this.element.classList.contains("tr-pg-live"); }

    hear(event) {
      switch (event.type) {
        case "put": this.words = event.has_worker ? "waiting for the model" : "no chat worker is running; waiting for one"; break;
        case "waiting": this.words = event.ahead === 1 ? "1 answer before yours" : `${event.ahead} answers before yours`; break;
        case "loading": this.words = `loading ${this.pane.page.short(event.what)}`; break;
        case "delta":
          this.firstAt = this.firstAt || performance.now();
          this.tokens += 1;
          this.text += event.text;
          this.drawSoon();
          break;
        case "done": this.end(event); break;
        case "failed": this.fail(event.error.code === "model_not_found" ? "This model is not here any more: deleted, or in another team. Choose another one above." : event.error.message); break;
      }
      this.tick();
      this.pane.showFigures(this);
    }

    end(made) {
      this.made = made;
      this.settle();
    }

    fail(sentence) {
      this.error = sentence;
      this.settle();
    }

    settle() {
      this.element.classList.remove("tr-pg-live");
      this.state.hidden = true;
      this.draw();
      this.under.replaceChildren();
      if (this.error) {
        const told = node("div", "tr-error tr-pg-failed");
        told.setAttribute("role", "alert");
        told.append(node("span", "", this.error), button("Try again", "tr-button tr-small", () => this.pane.page.answerAgain([this.pane.number])));
        this.under.append(told);
      }
      const row = node("div", "tr-pg-notes");
      if (this.text) {
        const copy = node("button", "tr-pg-copy", "Copy");
        copy.type = "button";
        copy.dataset.copy = this.text;
        row.append(copy);
        if (this.made && this.pane.page.mayAddRows) {
          const add = button("Add to dataset", "tr-pg-copy", () => this.addToDataset());
          add.dataset.pgAdd = "";
          add.title = "This answer, as it is or corrected, becomes a row to train on";
          row.append(add);
        }
      }
      if (this.added) {
        const link = node("a", "tr-pg-added", `added to ${this.added.name}`);
        link.href = this.added.address;
        row.append(link);
      }
      const note = this.note();
      if (note) row.append(node("span", "tr-hint", note));
      if (row.childNodes.length) this.under.append(row);
      this.pane.followEnd();
      this.pane.showFigures(this);
    }

    addToDataset() {
      window.tuneroomAddRow({
        messages: this.pane.talkBefore(this),
        answer: this.draft ?? this.text,
        original: this.text,
        model: this.pane.page.short(this.model),
        closed: (text) => {
          this.draft = text;
          this.under.querySelector("[data-pg-add]")?.focus();
        },
        added: (name, address) => {
          this.added = { name, address };
          if (!this.isLive) this.settle();
        },
      });
    }

    note() {
      const reason = this.made && this.made.finish_reason;
      const notes = [];
      if (reason === "stopped") notes.push(this.text ? "stopped" : "stopped before the first word");
      else if (reason === "length") notes.push("cut off at max tokens; Settings can raise it");
      else if (reason === "failed") notes.push("broke off");
      else if (reason && !this.text) notes.push("the model ended without a word");
      if (this.model && this.model !== this.pane.model) notes.push(`by ${this.pane.page.short(this.model)}`);
      return notes.join(" · ");
    }

    drawSoon() {
      if (this.timer) return;
      this.timer = setTimeout(() => { this.timer = null; this.draw(); }, DRAW_EVERY_MS);
    }

    draw() {
      clearTimeout(this.timer);
      this.timer = null;
      const follows = this.pane.isAtEnd();
      window.tuneroomModelText(this.body, this.text);
      if (follows) this.pane.followEnd(true);
    }
  }

  class Pane {
    constructor(page, number, model) {
      this.page = page;
      this.number = number;
      this.model = model;
      this.turns = []; // {turn, prompt, answer}
      this.element = node("section", "tr-pg-pane");
      this.pick = node("select");
      this.pick.addEventListener("change", () => this.choose(this.pick.value));
      this.remove = button("✕", "tr-pg-remove", () => page.removePane(this));
      this.what = node("p", "tr-pg-what");
      this.thread = node("div", "tr-pg-thread");
      this.thread.tabIndex = 0;
      this.thread.setAttribute("role", "log");
      this.thread.setAttribute("aria-live", "off");
      this.figures = node("div", "tr-pg-figures");
      const head = node("header", "tr-pg-pick");
      head.append(this.pick, this.remove);
      this.element.append(head, this.what, this.thread, this.figures);
      this.fillPicker();
      this.showEmpty();
      this.showFigures(null);
    }

    fillPicker() {
      this.pick.replaceChildren();
      const known = this.page.find(this.model);
      if (!known) {
        const gone = node("option", "", this.model ? `${this.model} (not here)` : "Choose a model");
        gone.value = this.model;
        this.pick.append(gone);
      }
      for (const [kind, title] of GROUPS) {
        const models = this.page.models.filter((model) => model.kind === kind);
        if (!models.length) continue;
        const group = node("optgroup");
        group.label = title;
        for (const model of models) {
          const option = node("option", "", model.label);
          option.value = model.model;
          group.append(option);
        }
        this.pick.append(group);
      }
      this.pick.value = this.model;
      this.showWhat();
    }

    choose(model) {
      this.model = model;
      this.fillPicker();
      this.page.panesChanged();
      this.page.focus();
    }

    showWhat() {
      const known = this.page.find(this.model);
      this.what.replaceChildren();
      if (!known) {
        this.what.append(node("span", "tr-pg-gone", "Not here: deleted, or in another team. Choose a model."));
        return;
      }
      const precision = node("span", "tr-chip", known.precision);
      precision.title = known.kind === "adapter" ? "Served on the weights it was trained on" : "The weights that answer";
      const about = known.kind === "base" ? node("span", "tr-pg-about", known.what) : node("a", "tr-pg-about", known.what);
      if (known.kind !== "base") about.href = `/adapter?id=${encodeURIComponent(known.id)}`;
      about.title = known.what;
      const id = node("button", "tr-pg-id tr-mono", known.model);
      id.type = "button";
      id.title = `${known.model}: copy this id for programs`;
      id.dataset.copy = known.model;
      this.what.append(precision, about, id);
    }

    get spec() {
      return { number: this.number, model: this.model };
    }

    isAtEnd() { return this.thread.scrollHeight - this.thread.scrollTop - this.thread.clientHeight < 48; }

    followEnd(always) {
      if (always || this.isAtEnd()) this.thread.scrollTop = this.thread.scrollHeight;
    }

    last() { return this.turns[this.turns.length - 1] || null; }

    showEmpty() {
      if (this.turns.length) return;
      this.thread.replaceChildren();
      const empty = node("div", "tr-pg-empty");
      if (this.page.turn === null) {
        empty.append(node("p", "", "Answers appear here."));
      } else {
        empty.append(node("p", "", "This pane came later."), button("Answer the last prompt", "tr-button tr-small", () => this.page.answerAgain([this.number])));
      }
      this.thread.append(empty);
    }

    // The prompt, with room for its answer. A turn that is there already keeps its place.
    put(turn, prompt) {
      const known = this.turns.find((each) => each.turn === turn);
      if (known) return known;
      if (!this.turns.length) this.thread.replaceChildren();
      const asked = node("div", "tr-pg-prompt", prompt);
      const made = { turn, prompt, answer: new Answer(this), asked };
      this.turns.push(made);
      this.thread.append(asked, made.answer.element);
      return made;
    }

    // What a row says before this answer: earlier answers are context, only this one was liked or corrected.
    talkBefore(answer) {
      const system = JSON.parse(answer.key)[1];
      const messages = system.trim() ? [{ role: "system", content: system }] : [];
      for (const { prompt, answer: said } of this.turns) {
        if (said === answer) return [...messages, { role: "user", content: prompt }];
        if (said.text && said.made) messages.push({ role: "user", content: prompt }, { role: "assistant", content: said.text, weight: 0 });
      }
      return messages;
    }

    takeBack(turn) {
      this.turns = this.turns.filter((each) => each !== turn);
      turn.asked.remove();
      turn.answer.element.remove();
      this.showEmpty();
    }

    showFigures(answer) {
      const first = answer && (answer.made ? answer.made.first_token_seconds : answer.firstAt && (answer.firstAt - answer.beganAt) / 1000);
      const speed = answer && answer.made && answer.made.tokens_per_second;
      const count = answer && (answer.made ? answer.made.completion_tokens : answer.tokens);
      const figure = (value, digits, name, title) => {
        const made = node("span", "tr-pg-figure");
        made.title = title;
        const [short, wide] = name;
        made.append(node("strong", "", typeof value === "number" ? numbers(value, digits) : "–"), ` ${short}`, node("span", "tr-pg-wide", wide));
        return made;
      };
      this.figures.replaceChildren(
        figure(first, 2, ["s to first", " token"], "From asking to the first token, with waiting and loading"),
        figure(speed, 1, ["tokens/s", ""], "While the model spoke"),
        figure(count, 0, ["tokens", ""], "Length of the answer"),
      );
    }
  }

  class Playground {
    constructor(root) {
      this.root = root;
      this.models = [];
      this.panes = [];
      this.settings = { ...DEFAULTS };
      this.conversation = null;
      this.turn = null; // the number of the last turn; null before the first
      this.running = null;
      this.mostPanes = Number(root.dataset.mostPanes);
      this.parts = {};
      for (const part of root.querySelectorAll("[data-pg]")) this.parts[part.dataset.pg] = part;
      this.prompt = this.parts.prompt;
      this.wire();
      this.start();
    }

    // opening

    async start() {
      try {
        await this.lookForModels();
        const asked = new URL(location.href).searchParams;
        const kept = this.kept();
        if (kept) {
          this.prompt.value = kept.prompt || "";
          if (!asked.get("conversation")) Object.assign(this.settings, kept.settings);
        }
        if (asked.get("conversation")) await this.open(asked.get("conversation"));
        else this.fresh((asked.get("models") || "").split(",").filter(Boolean).slice(0, this.mostPanes));
        this.showSettings();
        if (this.models.length && matchMedia("(pointer: fine)").matches) this.focus();
      } catch (error) {
        this.parts.panes.replaceChildren(node("p", "tr-error", this.sentence(error)), button("Try again", "tr-button", () => location.reload()));
      }
    }

    async lookForModels() {
      const found = await get("/api/v1/playground");
      this.models = found.models;
      this.you = found.you;
      this.mayAddRows = found.may_add_rows;
      const byName = new Map();
      for (const model of this.models) { byName.set(model.id, model); byName.set(model.model, model); }
      this.byName = byName;
      const isEmpty = !this.models.length;
      this.parts["no-models"].hidden = !isEmpty;
      this.parts["no-worker"].hidden = isEmpty || found.has_worker;
      this.parts.panes.hidden = this.parts.composer.hidden = isEmpty;
      this.showState();
      clearTimeout(this.looking);
      if (isEmpty || !found.has_worker) this.looking = setTimeout(() => this.lookAgain(), LOOK_AGAIN_MS);
    }

    async lookAgain() {
      const had = this.models.length;
      try { await this.lookForModels(); } catch { this.looking = setTimeout(() => this.lookAgain(), LOOK_AGAIN_MS); return; }
      if (!had && this.models.length) this.fresh([]);
    }

    find(name) { return this.byName.get(name) || null; }
    short(name) { const known = this.find(name); return known ? known.short : name; }

    // Asked by the address, else the newest adapter beside its base, else the first base.
    fresh(names) {
      const adapter = this.models.find((model) => model.kind === "adapter");
      const usual = adapter && this.find(adapter.base) ? [adapter.base, adapter.model] : this.models.slice(0, 1).map((model) => model.model);
      this.conversation = null;
      this.turn = null;
      this.freeNumber = 0;
      this.setPanes((names.length ? names : usual).map((name, number) => new Pane(this, number, this.find(name) ? this.find(name).model : name)));
      this.showTitle();
      this.writeAddress();
    }

    async open(id) {
      let found;
      try { found = await get(`${API}/${encodeURIComponent(id)}`); }
      catch (error) {
        this.fresh([]);
        this.say(this.sentence(error));
        return;
      }
      this.conversation = { id: found.id, title: found.title };
      this.turn = found.messages.length ? Math.max(...found.messages.map((message) => message.turn)) : null;
      this.freeNumber = Math.max(0, ...found.messages.map((message) => message.pane + 1));
      const first = found.panes[0];
      this.settings = { ...DEFAULTS, system: first.system, ...pickSampling(first.sampling) };
      this.setPanes(found.panes.map((pane) => new Pane(this, pane.number, pane.model)));
      for (const pane of this.panes) this.restore(pane, found.messages.filter((message) => message.pane === pane.number));
      this.showTitle();
      this.showSettings();
      this.writeAddress();
      for (const pane of this.panes) pane.followEnd(true);
    }

    restore(pane, messages) {
      const lastPrompt = messages.filter((message) => message.model === null).pop();
      for (const message of messages) {
        const { answer } = pane.put(message.turn, message.text);
        if (message.model === null) {
          if (messages.some((other) => other.turn === message.turn && other.model !== null)) continue;
          if (message === lastPrompt) answer.fail("No answer was kept: it was cut off by a restart, stopped before its first word, or failed.");
          else answer.under.append(node("p", "tr-hint", "not answered"));
          continue;
        }
        answer.text = message.text;
        answer.model = message.model;
        answer.key = keyOf(message.model, this.settings.system, message.made || {});
        answer.end(message.made || {});
      }
      if (lastPrompt) pane.showFigures(pane.last().answer);
    }

    // panes

    setPanes(panes) {
      this.freeNumber = Math.max(this.freeNumber, ...panes.map((pane) => pane.number + 1)); // never that of one that went
      this.panes = panes;
      this.parts.panes.replaceChildren(...panes.map((pane) => pane.element));
      for (const pane of panes) pane.showEmpty();
      this.showState();
    }

    addPane() {
      if (this.panes.length >= this.mostPanes) return;
      const used = new Set(this.panes.map((pane) => pane.model));
      const next = this.models.find((model) => !used.has(model.model)) || this.models[0];
      this.setPanes([...this.panes, new Pane(this, this.freeNumber, next.model)]);
      this.panesChanged();
      this.panes[this.panes.length - 1].pick.focus();
    }

    async removePane(pane) {
      if (pane.turns.length && !(await window.tuneroomAsk(`Remove the pane of ${this.short(pane.model)}? Its answers in this conversation go with it.`, "Remove"))) return;
      this.setPanes(this.panes.filter((each) => each !== pane));
      this.panesChanged([pane.number]);
      this.focus();
    }

    async panesChanged(removed = []) {
      this.writeAddress();
      this.showState();
      if (!this.conversation || this.running) return;
      try { await call("PATCH", `${API}/${this.conversation.id}`, { panes: this.specs(this.settings.seed), removed }); }
      catch (error) { this.say(this.sentence(error)); }
    }

    specs(seed) {
      const { system, temperature, top_p, max_tokens } = this.settings;
      return this.panes.map((pane) => ({ ...pane.spec, system, sampling: { temperature, top_p, max_tokens, seed } }));
    }

    writeAddress() {
      window.tuneroomAddress({
        models: this.panes.map((pane) => pane.model).join(","),
        conversation: this.conversation ? this.conversation.id : "",
      });
    }

    // asking

    async send() {
      const prompt = this.prompt.value.trim();
      if (this.running || !this.models.length) return;
      if (!prompt) { this.focus(); return; }
      if (!this.readSettings()) { this.openDrawer("settings"); return; }
      this.prompt.value = "";
      const began = await this.run(prompt, this.panes);
      if (!began && !this.prompt.value) this.prompt.value = prompt;
      this.keep();
    }

    async answerAgain(numbers) {
      if (this.running || this.turn === null) return;
      if (!this.readSettings()) { this.openDrawer("settings"); return; }
      const panes = this.panes.filter((pane) => !numbers || numbers.includes(pane.number));
      const isSame = panes.every((pane) => {
        const last = pane.last();
        const answer = last && last.turn === this.turn ? last.answer : null;
        return answer && answer.made && answer.key === keyOf(pane.model, this.settings.system, this.settings) && this.settings.temperature > 0;
      });
      if (isSame && this.settings.seed !== null) {
        this.settings.seed = randomSeed();
        this.showSettings();
        window.tuneroomSay(`A new seed, ${this.settings.seed}: with the old one the answer would be the same.`);
      }
      await this.run(null, panes);
    }

    // True once the server has written the prompt down. Each pane then ends by itself; see Answer.
    async run(prompt, panes) {
      const running = { control: new AbortController(), since: performance.now() };
      this.running = running;
      this.say("");
      this.showState();
      const seed = this.settings.seed === null ? randomSeed() : this.settings.seed;
      this.parts["seed-shown"].textContent = `seed ${seed}`;
      const turn = prompt === null ? this.turn : this.turn === null ? 0 : this.turn + 1;
      const asked = prompt === null ? this.lastPrompt() : prompt;
      const before = new Map();
      for (const pane of panes) {
        const wasThere = pane.turns.some((each) => each.turn === turn);
        const put = pane.put(turn, asked);
        const { text, made, error, model, key, draft, added } = put.answer;
        before.set(pane.number, { put, wasThere, was: { text, made, error, model, key, draft, added } });
        put.answer.begin(pane.model, keyOf(pane.model, this.settings.system, { ...this.settings, seed }));
        pane.showFigures(put.answer);
        pane.followEnd(true);
      }
      const ticking = setInterval(() => { for (const { put } of before.values()) put.answer.tick(); }, 500);
      let began = false;
      try {
        if (!this.conversation) await this.beginConversation(seed, asked, running.control.signal);
        const body = { panes: this.specs(seed), prompt, only: panes.map((pane) => pane.number) };
        const response = await call("POST", `${API}/${this.conversation.id}/turns`, body, running.control.signal);
        began = true;
        this.turn = turn;
        for await (const event of eventsOf(response)) {
          if (event.type === "begun") { this.conversation.title = event.title; this.showTitle(); continue; }
          before.get(event.pane).put.answer.hear(event);
        }
      } catch (error) {
        this.ended(error, running, before, began);
      } finally {
        clearInterval(ticking);
        for (const { put, was } of before.values()) {
          if (put.answer.error && was.made) this.bringBack(put.answer, was);
        }
        this.running = null;
        this.showState();
      }
      return began;
    }

    // The stream ended early: stopped by the person, or broken off.
    ended(error, running, before, began) {
      const isStopped = running.control.signal.aborted;
      for (const { put, wasThere, was } of before.values()) {
        const answer = put.answer;
        if (!began && !isStopped) {
          if (!wasThere) put.answer.pane.takeBack(put);
          else this.bringBack(answer, was);
        } else if (answer.isLive && isStopped) {
          const seconds = answer.firstAt ? (performance.now() - answer.firstAt) / 1000 : 0;
          const made = { finish_reason: "stopped", completion_tokens: answer.tokens };
          if (answer.firstAt) Object.assign(made, { first_token_seconds: (answer.firstAt - answer.beganAt) / 1000, tokens_per_second: answer.tokens / Math.max(seconds, 0.001) });
          if (!answer.text && was.made) { this.bringBack(answer, was); continue; }
          answer.end(made);
        } else if (answer.isLive) {
          answer.fail("The connection to the server broke off here. Your prompt is saved; this answer may not be. Try again.");
        }
      }
      if (!began && !isStopped) this.say(this.sentence(error));
      else if (!began && isStopped && this.turn === null) this.turn = null;
      if (!(error instanceof Refused) && !isStopped) console.error(error);
    }

    // An answer again that failed leaves the earlier one, which is still saved, and says so.
    bringBack(answer, was) {
      const error = answer.error;
      Object.assign(answer, was);
      answer.settle();
      if (error) window.tuneroomSay(`${error} The earlier answer stays.`, true);
    }

    async beginConversation(seed, title, signal) {
      const made = await (await call("POST", API, { panes: this.specs(seed), title: title.slice(0, 2000) }, signal)).json();
      this.conversation = { id: made.id, title: made.title };
      this.showTitle();
      this.writeAddress();
    }

    lastPrompt() {
      for (const pane of this.panes) {
        const found = pane.turns.find((each) => each.turn === this.turn);
        if (found) return found.prompt;
      }
      return "";
    }

    stop() {
      if (!this.running || performance.now() - this.running.since < TWICE_MS) return;
      this.running.control.abort();
      this.focus();
    }

    // settings

    showSettings() {
      for (const field of this.fields()) field.value = this.settings[field.name] ?? "";
      this.parts["seed-shown"].textContent = this.settings.seed === null ? "a new seed each time" : `seed ${this.settings.seed}`;
    }

    fields() { return this.parts.settings.querySelectorAll("[name]"); }

    // False, with a sentence beside the fields, for what cannot be asked.
    readSettings() {
      const read = {};
      let problem = "";
      for (const field of this.fields()) {
        field.removeAttribute("aria-invalid");
        if (field.name === "system") { read.system = field.value; continue; }
        const [least, most, name] = RANGES[field.name];
        const text = field.value.trim();
        if (field.name === "seed" && !text && field.validity.valid) { read.seed = null; continue; }
        const value = Number(text);
        const isWhole = field.name === "seed" || field.name === "max_tokens";
        if (!text || !Number.isFinite(value) || value < least || value > most || (isWhole && !Number.isInteger(value))) {
          problem = problem || `${name} is ${text ? JSON.stringify(text) : "empty"}; ${isWhole ? "a whole number" : "a number"} from ${least} to ${most.toLocaleString("en")} was needed.`;
          field.setAttribute("aria-invalid", "true");
          continue;
        }
        read[field.name] = value;
      }
      this.parts["settings-error"].textContent = problem;
      this.parts["settings-error"].hidden = !problem;
      if (problem) return false;
      this.settings = { ...this.settings, ...read };
      this.parts["seed-shown"].textContent = read.seed === null ? "a new seed each time" : `seed ${read.seed}`;
      return true;
    }

    settingsChanged() {
      if (!this.readSettings()) return;
      this.keep();
      this.panesChanged();
    }

    // drawers

    openDrawer(name) {
      for (const each of ["settings", "conversations"]) {
        const isOpen = each === name && this.parts[each].hidden;
        this.parts[each].hidden = !isOpen;
        this.parts[`open-${each}`].setAttribute("aria-expanded", String(isOpen));
        if (isOpen && each === "conversations") this.list();
        if (isOpen) (this.parts[each].querySelector("[aria-invalid]") || this.parts[each].querySelector("textarea, input")).focus();
      }
    }

    closeDrawers() {
      const wasOpen = !this.parts.settings.hidden || !this.parts.conversations.hidden;
      this.openDrawer("");
      if (wasOpen) this.focus();
      return wasOpen;
    }

    async list(after) {
      const asked = new URLSearchParams({ limit: "30", q: this.parts.search.value.trim() });
      if (after) asked.set("after", after);
      const request = (this.listing = {});
      let found;
      try { found = await get(`${API}?${asked}`); }
      catch (error) { this.parts.list.replaceChildren(node("li", "tr-error", this.sentence(error))); return; }
      if (request !== this.listing) return; // a later search was faster
      if (!after) this.parts.list.replaceChildren();
      this.parts.list.append(...found.data.map((row) => this.row(row)));
      if (!this.parts.list.childNodes.length) this.parts.list.append(node("li", "tr-hint", asked.get("q") ? "No title has these words." : "Nothing yet: a conversation is kept from its first prompt on."));
      this.parts.more.hidden = !found.has_more;
      this.parts.more.onclick = () => this.list(found.data[found.data.length - 1].id);
    }

    row(kept) {
      const row = node("li");
      const isHere = this.conversation && this.conversation.id === kept.id;
      if (isHere) row.setAttribute("aria-current", "true");
      const link = node("a", "tr-pg-name", kept.title || "Untitled");
      link.href = `/playground?conversation=${encodeURIComponent(kept.id)}`;
      link.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        this.visit(kept.id);
      });
      const time = node("time", "", "");
      time.dateTime = new Date(kept.changed_at * 1000).toISOString();
      time.title = new Date(kept.changed_at * 1000).toLocaleString();
      const about = node("p", "tr-hint");
      about.append(time, ` · ${kept.panes.map((pane) => this.short(pane.model)).join(", ")}`);
      const acts = node("div", "tr-actions");
      acts.append(button("Rename", "tr-button tr-small", () => this.rename(row, kept)), button("Delete", "tr-button tr-small tr-danger", () => this.forget(row, kept)));
      row.append(link, about, acts);
      return row;
    }

    rename(row, kept) {
      const field = node("input");
      field.value = kept.title;
      field.maxLength = 80;
      field.setAttribute("aria-label", "New title");
      const form = node("form", "tr-form tr-pg-rename");
      const back = () => row.replaceWith(this.row(kept));
      const save = node("button", "tr-button tr-small", "Save");
      const told = node("p", "tr-error");
      told.hidden = true;
      form.append(field, save, button("Keep", "tr-button tr-small", back), told);
      form.addEventListener("submit", async (event) => {
        event.preventDefault();
        try {
          kept.title = (await (await call("PATCH", `${API}/${kept.id}`, { title: field.value })).json()).title;
        } catch (error) {
          told.textContent = this.sentence(error);
          told.hidden = false;
          return;
        }
        if (this.conversation && this.conversation.id === kept.id) { this.conversation.title = kept.title; this.showTitle(); }
        back();
      });
      field.addEventListener("keydown", (event) => { if (event.key === "Escape") { event.stopPropagation(); back(); } });
      row.replaceChildren(form);
      field.select();
    }

    async forget(row, kept) {
      if (!(await window.tuneroomAsk(`Delete the conversation “${kept.title || "Untitled"}”? What was said in it goes for good.`, "Delete"))) return;
      try { await call("DELETE", `${API}/${kept.id}`); }
      catch (error) { window.tuneroomSay(this.sentence(error), true); return; }
      row.remove();
      window.tuneroomSay("Deleted.");
      if (this.conversation && this.conversation.id === kept.id) this.startNew();
      if (!this.parts.list.childNodes.length) this.list();
    }

    async visit(id) {
      await this.leave();
      history.pushState(null, "", `/playground?conversation=${encodeURIComponent(id)}`);
      this.closeDrawers();
      await this.open(id);
      this.focus();
    }

    async startNew() {
      await this.leave();
      history.pushState(null, "", "/playground");
      this.fresh(this.panes.map((pane) => pane.model));
      this.focus();
    }

    // What still runs is stopped and kept by the server.
    async leave() {
      if (!this.running) return;
      this.running.control.abort();
      while (this.running) await new Promise((resolve) => setTimeout(resolve, 20));
    }

    // what is shown

    focus() { this.prompt.focus({ preventScroll: true }); }

    showState() {
      const isRunning = Boolean(this.running);
      const { send, again, add } = this.parts;
      send.textContent = isRunning ? "Stop" : "Send";
      send.classList.toggle("tr-primary", !isRunning);
      send.classList.toggle("tr-danger", isRunning);
      send.disabled = !this.models.length;
      again.disabled = isRunning || this.turn === null;
      add.disabled = isRunning || !this.models.length || this.panes.length >= this.mostPanes;
      add.title = this.panes.length >= this.mostPanes ? `${this.mostPanes} panes stand side by side at most` : "";
      this.parts.new.disabled = !this.models.length || (!this.conversation && !isRunning);
      this.parts.panes.dataset.count = String(this.panes.length);
      this.panes.forEach((pane, index) => {
        pane.pick.disabled = isRunning;
        pane.pick.setAttribute("aria-label", `Model of pane ${index + 1}`);
        pane.element.setAttribute("aria-label", `Pane ${index + 1}`);
        pane.remove.hidden = this.panes.length < 2;
        pane.remove.disabled = isRunning;
        pane.remove.setAttribute("aria-label", `Remove pane ${index + 1}`);
      });
      for (const each of this.root.querySelectorAll(".tr-pg-thread .tr-button")) each.disabled = isRunning;
      if (!this.models.length) return;
      this.prompt.placeholder = this.panes.length > 1 ? `Ask all ${this.panes.length} panes the same` : "Ask something";
    }

    showTitle() {
      const title = this.conversation ? this.conversation.title : "";
      this.parts.title.textContent = title;
      this.parts.title.title = title;
      document.title = title ? `${title} · Playground` : "Playground";
    }

    say(sentence) {
      this.parts.error.textContent = sentence;
      this.parts.error.hidden = !sentence;
    }

    sentence(error) {
      if (error instanceof Refused) return error.message;
      console.error(error);
      return "Something went wrong on this page. Reload it; what was said is saved.";
    }

    // What was typed outlives a reload of this tab, for the same person.
    kept() {
      try {
        const kept = JSON.parse(sessionStorage.getItem("tuneroom-playground"));
        return kept && kept.you === this.you ? kept : null;
      } catch { return null; }
    }

    keep() {
      try { sessionStorage.setItem("tuneroom-playground", JSON.stringify({ you: this.you, prompt: this.prompt.value, settings: this.settings })); }
      catch { /* storage is full or switched off: nothing is kept */ }
    }

    wire() {
      const { parts } = this;
      parts.send.addEventListener("click", () => {
        this.running ? this.stop() : this.send();
        this.focus();
      });
      parts.again.addEventListener("click", () => { this.answerAgain(null); this.focus(); });
      parts.add.addEventListener("click", () => this.addPane());
      parts.new.addEventListener("click", () => this.startNew());
      parts["open-settings"].addEventListener("click", () => this.openDrawer("settings"));
      parts["open-conversations"].addEventListener("click", () => this.openDrawer("conversations"));
      for (const close of this.root.querySelectorAll("[data-pg-close]")) close.addEventListener("click", () => this.closeDrawers());
      parts["new-seed"].addEventListener("click", () => { this.settings.seed = randomSeed(); this.showSettings(); this.settingsChanged(); });
      parts.reset.addEventListener("click", () => { this.settings = { ...DEFAULTS }; this.showSettings(); this.settingsChanged(); });
      for (const field of this.fields()) field.addEventListener("change", () => this.settingsChanged());
      parts.search.addEventListener("input", () => { clearTimeout(this.searching); this.searching = setTimeout(() => this.list(), 200); });
      this.prompt.addEventListener("input", () => this.keep());
      this.prompt.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        if (!event.ctrlKey && !event.metaKey) this.send(); // Ctrl+Enter is every page's: it clicks Send
      });
      document.addEventListener("keydown", (event) => {
        if (event.key !== "Escape" || !this.root.isConnected || document.querySelector("dialog[open]")) return;
        if (!this.closeDrawers()) this.stop();
      });
      addEventListener("popstate", () => location.reload());
    }
  }

  const pickSampling = ({ temperature, top_p, max_tokens, seed }) => ({ temperature, top_p, max_tokens, seed: seed ?? null });
  const keyOf = (model, system, sampling) => JSON.stringify([model, system, pickSampling(sampling)]);

  // Gradio puts the page in after its own start, and its scripts in any order.
  const begin = () => {
    const root = document.getElementById("tr-playground");
    if (!root || !window.tuneroomModelText || !window.tuneroomAddress || !window.tuneroomAddRow) return setTimeout(begin, 25);
    return new Playground(root);
  };
  if (location.pathname === "/playground") begin();
})();
