// A small chat with one model, on any element with data-tr-chat. Speaks the event stream of /v1/chat/completions.
//   data-endpoint="/v1/chat/completions"    where questions go; data-model="ft:..." names the model there
//   data-stop="/s/.../stop"                 told {"id"} when a person stops; without it closing the stream is enough
//   data-keep="..."                         under which name this tab keeps the conversation over a reload
//   data-quiet                              Send is not the page's one primary button
//   data-most-messages, -message, -conversation    bounds of what is sent; older turns are left out, never cut
// Whatever a model says becomes text nodes: nothing here reads HTML.
(() => {
  "use strict";
  const node = (name, className, text) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // Paragraphs, fenced code, `code` and **bold**; anything else stays as it was written.
  const inline = (parent, text) => {
    const marks = /`([^`\n]+)`|\*\*([^*\n]+)\*\*/g;
    let from = 0;
    for (const found of text.matchAll(marks)) {
      parent.append(text.slice(from, found.index), node(found[1] ? "code" : "strong", "", found[1] || found[2]));
      from = found.index + found[0].length;
    }
    parent.append(text.slice(from));
  };
  const formatted = (text) => {
    const all = document.createDocumentFragment();
    const prose = (part) => {
      for (const paragraph of part.split(/\n\s*\n/)) {
        if (!paragraph.trim()) continue;
        const made = node("p");
        inline(made, paragraph.replace(/^\n+|\s+$/g, ""));
        all.append(made);
      }
    };
    text.split(/^```/m).forEach((part, index) => {
      if (index % 2 === 0) return prose(part);
      const block = node("pre");
      block.append(node("code", "", part.replace(/^[^\n]*\n?/, "").replace(/\n$/, "")));
      block.tabIndex = 0; // a wide block scrolls, also by keyboard
      all.append(block);
    });
    return all;
  };

  class Refused extends Error {}
  const sentenceOf = async (response) => {
    try { return (await response.json()).error.message; } catch { return `The server answered ${response.status}. Try again.`; }
  };
  // Yields the JSON of each `data:` line; throws Refused with the sentence of an error.
  async function* eventsOf(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Refused("The answer broke off before its end. Ask again.");
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data: ")) continue;
        if (line === "data: [DONE]") return;
        const told = JSON.parse(line.slice(6));
        if (told.error) throw new Refused(told.error.message);
        yield told;
      }
    }
  }

  const mount = (root) => {
    const { endpoint, model, stop, keep } = root.dataset;
    const most = {
      messages: Number(root.dataset.mostMessages || 40),
      message: Number(root.dataset.mostMessage || 16000),
      conversation: Number(root.dataset.mostConversation || 48000),
    };
    const place = `tuneroom-chat:${keep || endpoint + (model || "")}`;
    let turns = [];
    let asking = null; // the AbortController of the answer under way
    let requestId = null;
    let isOver = false; // the link is dead: nothing can be sent any more

    const log = node("div", "tr-chat-log");
    log.setAttribute("role", "log");
    log.setAttribute("aria-label", "Conversation");
    log.tabIndex = 0;
    const problem = node("p", "tr-error");
    problem.setAttribute("role", "alert");
    problem.hidden = true;
    const form = node("form", "tr-chat-form");
    const box = node("textarea");
    box.rows = 1;
    box.placeholder = "Write a message";
    box.setAttribute("aria-label", "Your message");
    box.maxLength = most.message;
    box.enterKeyHint = "send";
    const send = node("button", "quiet" in root.dataset ? "tr-button tr-chat-send" : "tr-button tr-primary tr-chat-send", "Send");
    form.append(box, send);
    const foot = node("p", "tr-chat-foot");
    const hint = node("span", "tr-hint", "Enter sends, Shift+Enter: new line");
    const anew = node("button", "tr-button tr-small", "New conversation");
    anew.type = "button";
    foot.append(hint, anew);
    root.classList.add("tr-chat");
    root.replaceChildren(log, problem, form, foot);

    const isAtEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 48;
    const toEnd = () => { log.scrollTop = log.scrollHeight; };
    const grow = () => {
      box.style.height = "auto";
      box.style.height = `${Math.min(box.scrollHeight + 2, 160)}px`;
    };
    const say = (sentence) => {
      problem.textContent = sentence || "";
      problem.hidden = !sentence;
    };
    const store = () => {
      try { sessionStorage.setItem(place, JSON.stringify(turns)); } catch { /* full or forbidden: nothing is kept */ }
    };
    const show = (turn) => {
      const shown = node("div", turn.role === "user" ? "tr-turn tr-turn-user" : "tr-turn tr-turn-model");
      shown.append(node("span", "tr-unseen", turn.role === "user" ? "You:" : "Answer:"));
      const body = node("div", "tr-turn-body");
      body.append(formatted(turn.content));
      shown.append(body);
      if (turn.note) shown.append(node("p", "tr-hint", turn.note));
      return shown;
    };
    const draw = () => {
      log.replaceChildren(...turns.map(show));
      if (!turns.length) log.append(node("p", "tr-chat-empty", "Nothing said yet. Ask it what it has learned."));
      anew.disabled = !turns.length;
      toEnd();
    };
    const setBusy = (busy) => {
      log.setAttribute("aria-busy", String(busy));
      send.textContent = busy ? "Stop" : "Send";
      send.disabled = isOver;
      box.disabled = isOver;
      anew.disabled = busy || !turns.length;
    };
    // The newest turns that fit, beginning with a person's.
    const fitting = () => {
      const sent = [];
      let length = 0;
      for (const { role, content } of [...turns].reverse()) {
        length += content.length;
        if (sent.length === most.messages || (length > most.conversation && sent.length)) break;
        sent.unshift({ role, content });
      }
      while (sent.length && sent[0].role !== "user") sent.shift();
      return sent;
    };

    const ask = async (question) => {
      say("");
      turns.push({ role: "user", content: question });
      const messages = fitting();
      draw();
      store();
      const answer = { role: "assistant", content: "" };
      turns.push(answer);
      let shown = node("div", "tr-turn tr-turn-model");
      const waiting = node("p", "tr-chat-waiting", "Waiting for the model");
      shown.append(waiting);
      log.append(shown);
      toEnd();
      const began = Date.now();
      const clock = setInterval(() => {
        const seconds = Math.round((Date.now() - began) / 1000);
        if (seconds > 2) waiting.textContent = `Waiting for the model, ${seconds} s`;
      }, 1000);
      let isDrawn = true;
      const redraw = () => {
        if (!isDrawn) return;
        isDrawn = false;
        requestAnimationFrame(() => {
          isDrawn = true;
          const follows = isAtEnd();
          const fresh = show(answer);
          shown.replaceWith(fresh);
          shown = fresh;
          if (follows) toEnd();
        });
      };
      asking = new AbortController();
      requestId = null;
      setBusy(true);
      let sentence = "";
      try {
        const body = model ? { model, messages, stream: true } : { messages };
        const response = await fetch(endpoint, {
          method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal: asking.signal,
        });
        if (!response.ok) {
          isOver = response.status === 404 && stop !== undefined;
          throw new Refused(await sentenceOf(response));
        }
        for await (const event of eventsOf(response)) {
          requestId = event.id;
          const choice = event.choices && event.choices[0];
          if (!choice) continue;
          if (choice.delta.content) {
            answer.content += choice.delta.content;
            redraw();
          }
          if (choice.finish_reason === "length") answer.note = "Cut here: this is the longest answer allowed.";
        }
        if (asking.isStopped) answer.note = "Stopped.";
      } catch (error) {
        if (asking.signal.aborted) answer.note = "Stopped.";
        else if (error instanceof Refused) sentence = error.message;
        else sentence = "The server cannot be reached. Check the connection and try again.";
      } finally {
        clearInterval(clock);
        asking = null;
      }
      if (!answer.content) {
        turns.pop();
        if (sentence) { // nothing was answered: the question goes back to where it was typed
          turns.pop();
          if (!box.value) box.value = question;
        } else if (!answer.note) answer.note = "The model had nothing to say.";
        if (answer.note) turns.push({ ...answer, content: "…" });
      }
      store();
      draw();
      say(sentence);
      setBusy(false);
      grow();
      // Whoever went on elsewhere on the page keeps the focus there.
      const isElsewhere = document.activeElement !== document.body && !root.contains(document.activeElement);
      if (!isOver && !isElsewhere) box.focus({ preventScroll: true });
    };
    const halt = () => {
      const under = asking;
      under.isStopped = true;
      if (!stop || !requestId) return under.abort();
      const told = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ id: requestId }) };
      fetch(stop, told).catch(() => under.abort());
      setTimeout(() => under.abort(), 2000); // an answer that ended by then does not notice
    };

    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (asking) return halt();
      const question = box.value.trim();
      if (!question || isOver) return box.focus();
      box.value = "";
      grow();
      ask(question);
    });
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!asking) form.requestSubmit();
    });
    box.addEventListener("input", grow);
    anew.addEventListener("click", () => {
      turns = [];
      say("");
      store();
      draw();
      box.focus();
    });
    addEventListener("pagehide", () => turns.length && store());

    try { turns = JSON.parse(sessionStorage.getItem(place)) || []; } catch { turns = []; }
    turns = turns.filter((turn) => turn.content);
    if (turns.length && turns[turns.length - 1].role === "user") box.value = turns.pop().content; // never answered
    draw();
    setBusy(false);
    grow();
  };

  const mountAll = () => {
    for (const root of document.querySelectorAll("[data-tr-chat]:not([data-mounted])")) {
      root.dataset.mounted = "";
      mount(root);
    }
  };
  const start = () => {
    mountAll();
    new MutationObserver(mountAll).observe(document.body, { childList: true, subtree: true });
  };
  document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();
})();
