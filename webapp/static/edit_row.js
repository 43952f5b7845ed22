// A row as fields that somebody edits; what is saved is a new version of the dataset, never this one changed.
//   <div data-own data-edit="file id" data-row="7" data-dataset="id" data-next="3"
//     data-facts='{"example": ... or null, "raw": "the row as it stands in the file"}'>
// What was typed stays until it has been saved: a refusal is said beside it.
(() => {
  "use strict";
  const part = (...given) => window.tuneroomPart(...given), count = (value) => window.tuneroomNumber(value);
  const ROLES = ["system", "user", "assistant", "tool"];
  const LISTS = { conversation: [["turns", ""]], text: [], preference: [["prompt", "Before both"], ["chosen", "Chosen"], ["rejected", "Rejected"]], labelled: [["prompt", "Before"], ["completion", "Answer"]] };

  const begin = (root) => {
    const { example, raw } = JSON.parse(root.dataset.facts);
    const path = `/api/v1/files/${encodeURIComponent(root.dataset.edit)}/edits`;
    const number = Number(root.dataset.row), next = Number(root.dataset.next);
    let now = example || guessed(raw) || { kind: "conversation", turns: [turn("user"), turn("assistant")] };
    let isJson = false, isBusy = false;

    const draw = () => {
      const fields = isJson ? [jsonField(now)] : fieldsOf(now);
      const note = part("input");
      note.maxLength = 300;
      note.placeholder = "What was changed, for your team";
      note.value = root.querySelector("[data-note]")?.value || "";
      note.dataset.note = "";
      const noteLabel = part("label", "tr-ed-note", "Note");
      noteLabel.append(note);
      const foot = part("div", "tr-actions tr-ed-foot");
      const save = button(`Save as version ${next}`, () => send(() => read(true)), "tr-primary");
      save.classList.add("tr-submit");
      foot.append(save, button("Cancel", leave), button(isJson ? "Edit as fields" : "Edit as JSON", swap));
      const remove = button("Remove this row", async () => {
        if (await window.tuneroomAsk(`Remove row ${count(number)}? The other rows become version ${next}; this version stays as it is.`, "Remove")) send(() => null);
      }, "tr-danger");
      remove.classList.add("tr-ed-remove");
      foot.append(remove);
      const told = part("div", "tr-ed-told");
      told.setAttribute("role", "status");
      const body = part("div", "tr-ed-fields");
      body.append(...fields);
      root.replaceChildren(body, noteLabel, told, foot);
      grow(root);
    };
    const say = (words, look = "tr-error") => {
      const told = root.querySelector(".tr-ed-told");
      told.replaceChildren(...(words ? [part("p", look, words)] : []));
    };
    const swap = () => {
      try { now = read(false); } catch (fault) { return say(fault.message); }
      isJson = !isJson;
      draw();
    };
    const leave = () => window.tuneroomGo({ edit: "" }, "#dataset-ask");

    const fieldsOf = (row) => {
      const found = [];
      if (row.kind === "text") found.push(area("Text", "text", row.text || "", 10));
      for (const [name, title] of LISTS[row.kind] || []) found.push(turnsOf(name, title, row[name] || []));
      if (row.kind === "labelled") found.push(labelOf(row.label));
      if (row.kind !== "text") {
        const tools = area("Tools the model may call, as a JSON list", "tools", row.tools?.length ? JSON.stringify(row.tools, null, 2) : "", 2);
        tools.querySelector("textarea").classList.add("tr-mono");
        const more = part("details", "tr-ed-more");
        more.open = Boolean(row.tools?.length);
        more.append(part("summary", "", "Tools"), tools);
        found.push(more);
      }
      return found;
    };
    const turnsOf = (name, title, turns) => {
      const box = part("fieldset", "tr-ed-turns");
      box.dataset.list = name;
      if (title) box.append(part("legend", "", title));
      const add = button("Add a turn", () => {
        const last = [...box.querySelectorAll(".tr-ed-turn select")].pop()?.value;
        const made = turnField(turn(last === "user" ? "assistant" : "user"));
        box.insertBefore(made, add);
        made.querySelector("textarea").focus();
      });
      box.append(...turns.map(turnField), add);
      return box;
    };
    const turnField = (said) => {
      const box = part("div", "tr-ed-turn"), head = part("div", "tr-ed-head");
      box.kept = said;
      const role = part("select");
      role.setAttribute("aria-label", "Role");
      for (const each of ROLES) {
        const option = part("option", "", each);
        option.value = each;
        option.selected = each === said.role;
        role.append(option);
      }
      const weight = part("label", "tr-ed-weight"), box2 = part("input");
      box2.type = "checkbox";
      box2.checked = said.weight !== 0;
      weight.append(box2, " trained");
      const drop = button("Remove", () => box.remove());
      drop.setAttribute("aria-label", "Remove this turn");
      head.append(role, weight, drop);
      const text = area("", "content", said.content || "", 2);
      text.querySelector("textarea").setAttribute("aria-label", "Text");
      const calls = area("Tool calls, as a JSON list", "calls", said.tool_calls?.length ? JSON.stringify(said.tool_calls, null, 2) : "", 2);
      calls.querySelector("textarea").classList.add("tr-mono");
      const thinking = area("Thinking", "reasoning", said.reasoning || "", 2);
      const more = part("details", "tr-ed-more");
      more.open = Boolean(said.tool_calls?.length || said.reasoning);
      more.append(part("summary", "", "Thinking and tool calls"), thinking, calls);
      box.append(head, text, more);
      const fit = () => { more.hidden = weight.hidden = role.value !== "assistant"; };
      role.onchange = fit;
      fit();
      return box;
    };
    const labelOf = (isGood) => {
      const label = part("label", "tr-ed-good"), box = part("input");
      box.type = "checkbox";
      box.checked = Boolean(isGood);
      box.dataset.good = "";
      label.append(box, " somebody found this answer good");
      return label;
    };
    const area = (title, name, value, rows) => {
      const label = part("label", "tr-ed-area", title), field = part("textarea");
      field.name = name;
      field.rows = rows;
      field.value = value;
      label.append(field);
      return label;
    };
    const jsonField = (row) => {
      const label = area("The row as JSON", "json", example || row.touched ? JSON.stringify(clean(row), null, 2) : raw, 16);
      label.querySelector("textarea").classList.add("tr-mono");
      return label;
    };

    const read = (isStrict) => {
      const json = root.querySelector("textarea[name=json]");
      if (json) return fromJson(json.value);
      const row = { kind: now.kind, touched: true };
      if (row.kind === "text") row.text = root.querySelector("[name=text]").value;
      for (const box of root.querySelectorAll("[data-list]"))
        row[box.dataset.list] = [...box.querySelectorAll(".tr-ed-turn")].map((each, place) => turnFrom(each, place + 1));
      const good = root.querySelector("[data-good]");
      if (good) row.label = good.checked;
      const tools = root.querySelector("[name=tools]")?.value.trim();
      if (tools) row.tools = list(tools, "The tools are");
      if (isStrict && row.kind === "conversation" && !row.turns.some((each) => each.role === "assistant")) throw new Error("The conversation has no turn of the assistant; at least one answer is needed to learn from. Add one.");
      return row;
    };
    const turnFrom = (box, place) => {
      const said = { ...box.kept, role: box.querySelector("select").value, content: box.querySelector("[name=content]").value };
      delete said.tool_calls; delete said.reasoning; delete said.weight;
      if (said.role !== "tool") delete said.tool_call_id;
      if (said.role !== "assistant") return said;
      const calls = box.querySelector("[name=calls]").value.trim(), thinking = box.querySelector("[name=reasoning]").value;
      if (calls) said.tool_calls = list(calls, `The tool calls of turn ${place} are`);
      if (thinking.trim()) said.reasoning = thinking;
      if (!box.querySelector("[type=checkbox]").checked) said.weight = 0;
      return said;
    };

    const send = async (wanted) => {
      if (isBusy) return;
      let row;
      try { row = wanted(); } catch (fault) { return say(fault.message); }
      isBusy = true;
      root.setAttribute("aria-busy", "true");
      say("Saving ...", "tr-hint");
      const body = { edits: [{ row: number, example: row && clean(row) }] };
      const note = root.querySelector("[data-note]").value.trim();
      if (note) body.note = note;
      const { told, error } = await window.tuneroomSend("POST", path, body);
      const problem = error ? error.message : await done(told);
      isBusy = false;
      root.removeAttribute("aria-busy");
      if (problem) return say(problem);
      const made = part("p", "tr-good", `Saved as version ${next}. `);
      const open = part("a", "", `Open version ${next}`);
      open.href = `/dataset?id=${encodeURIComponent(root.dataset.dataset)}&v=${next}${row ? `&row=${number}` : ""}`;
      made.append(open);
      root.querySelector(".tr-ed-told").replaceChildren(made);
      root.querySelector(".tr-ed-foot").replaceChildren(button("Back to the row", leave));
    };
    // The version is made by a job; what becomes of it is said here.
    const done = (job) => window.tuneroomFollow(job.id, ({ state }) => {
      if (!root.isConnected) return false;
      say(state === "running" ? "Writing the new version ..." : "Waiting for a free worker, then the new version is written ...", "tr-hint");
    });
    const button = (words, then, look = "") => {
      const made = part("button", `tr-button tr-small ${look}`.trim(), words);
      made.type = "button";
      made.onclick = then;
      return made;
    };
    draw();
    [...root.querySelectorAll("textarea[name=content], textarea[name=text]")].pop()?.focus({ preventScroll: true });
  };

  const turn = (role) => ({ role, content: "" });
  const clean = ({ touched, ...row }) => row;
  const list = (text, what) => {
    let value;
    try { value = JSON.parse(text); } catch (fault) { throw new Error(`${what} no JSON: ${fault.message}. A list is needed, as [{"name": "...", "arguments": {}}].`); }
    if (!Array.isArray(value)) throw new Error(`${what} no list; a JSON list is needed, as [...].`);
    return value;
  };
  const fromJson = (text) => {
    let value;
    try { value = JSON.parse(text); } catch (fault) { throw new Error(`This is no JSON: ${fault.message}. Correct it, or edit as fields.`); }
    const row = understood(value);
    if (!row) throw new Error("This JSON is no row that can be saved. A conversation is {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}, ...]}, a text is {\"text\": \"...\"}.");
    return { ...row, touched: true };
  };
  // A row that could not be used, as far as its author's intention shows; the person mends the rest.
  const guessed = (raw) => {
    try { return understood(JSON.parse(raw), true); } catch { return raw ? { kind: "conversation", turns: [{ role: "user", content: raw }, turn("assistant")] } : null; }
  };
  const understood = (value, isLoose) => {
    if (!value || typeof value !== "object") return null;
    if (value.kind in LISTS) return value;
    const messages = value.messages || value.conversations;
    if (Array.isArray(messages)) {
      const row = { kind: "conversation", turns: messages.map(messageOf) };
      if (isLoose && !row.turns.some((each) => each.role === "assistant")) row.turns.push(turn("assistant"));
      if (value.tools) row.tools = value.tools;
      return row;
    }
    const asked = value.instruction ?? value.prompt ?? value.question, answer = value.output ?? value.completion ?? value.response ?? value.answer;
    if (asked !== undefined || answer !== undefined) {
      const turns = value.system ? [{ role: "system", content: String(value.system) }] : [];
      turns.push({ role: "user", content: [asked, value.input].filter((each) => each).map(plain).join("\n") }, { role: "assistant", content: plain(answer ?? "") });
      return { kind: "conversation", turns };
    }
    if (typeof value.text === "string") return { kind: "text", text: value.text };
    return isLoose ? { kind: "conversation", turns: [{ role: "user", content: plain(value) }, turn("assistant")] } : null;
  };
  const NAMES = { human: "user", gpt: "assistant", bot: "assistant", model: "assistant", function: "tool", developer: "system" };
  const messageOf = (message) => {
    const role = message?.role ?? message?.from ?? "user";
    const said = { role: ROLES.includes(role) ? role : NAMES[role] || "user", content: plain(message?.content ?? message?.value ?? "") };
    const calls = (message?.tool_calls || []).map(({ id, function: called, name, arguments: given }) => {
      const call = { name: called?.name ?? name ?? "", arguments: called?.arguments ?? given ?? {} };
      if (typeof call.arguments === "string") try { call.arguments = JSON.parse(call.arguments); } catch { /* stays a text, to be mended */ }
      return id ? { ...call, id } : call;
    });
    if (calls.length) said.tool_calls = calls;
    if (message?.weight === 0) said.weight = 0;
    if (message?.tool_call_id) said.tool_call_id = message.tool_call_id;
    return said;
  };
  const plain = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  const grow = (root) => {
    for (const field of root.querySelectorAll("textarea")) {
      const lines = field.value.split("\n").reduce((sum, line) => sum + 1 + Math.floor(line.length / 90), 0);
      field.rows = Math.min(24, Math.max(field.rows, lines));
    }
  };

  window.tuneroomEach("[data-edit]", begin);
})();
