// Which column of a file stands for which field of a format, with what three rows become of it.
//   <section data-own data-columns="file id">  its data-facts has {format, mapping, formats: [...]}
// Cells, names and refusals are textContent, never markup.
(() => {
  "use strict";
  const part = (...given) => window.tuneroomPart(...given);
  const QUIET_MS = 350;
  const ALSO = { // other names that people give to a field; only ever a first suggestion
    instruction: ["question", "prompt", "query", "input", "user", "request", "customer", "asked"], output: ["answer", "response", "completion", "reply", "target", "assistant", "label"],
    prompt: ["question", "instruction", "query", "input", "user", "customer", "asked"], completion: ["answer", "response", "output", "reply", "target", "assistant"],
    text: ["content", "document", "body"], messages: ["conversation", "conversations", "dialog", "chat"], conversations: ["messages", "conversation", "dialog"],
    chosen: ["accepted", "preferred", "good", "better"], rejected: ["refused", "bad", "worse", "dispreferred"], label: ["good", "is_good", "rating"], system: ["system_prompt"],
  };

  const begin = (root) => {
    const facts = JSON.parse(root.dataset.facts);
    const form = root.querySelector("form"), place = root.querySelector(".tr-map-fields"), rows = root.querySelector(".tr-map-rows");
    const told = root.querySelector(".tr-map-told"), use = root.querySelector("[data-use]");
    const path = `/api/v1/files/${encodeURIComponent(root.dataset.columns)}`;
    let columns = null, asking = null, quiet = 0, chosen = { ...facts.mapping };

    const format = () => facts.formats.find((each) => each.name === form.elements.format.value);
    const suggested = () => {
      const free = new Set(columns), found = {};
      const says = (column) => column.trim().toLowerCase();
      const passes = [(name, column) => says(column) === name, (name, column) => ALSO[name]?.includes(says(column)),
        (name, column) => ALSO[name]?.some((word) => word.length > 3 && says(column).includes(word))];
      for (const pass of passes)
        for (const { name } of format().fields) {
          if (found[name]) continue;
          const match = columns.find((column) => free.has(column) && pass(name, column));
          if (match !== undefined) { found[name] = match; free.delete(match); }
        }
      return found;
    };
    const drawFields = () => {
      place.replaceChildren(...format().fields.map((field) => {
        const label = part("label"), title = part("span", "", field.title), pick = part("select");
        if (field.is_required) title.append(part("span", "tr-map-needed", " · needed"));
        label.append(title);
        pick.name = `field-${field.name}`;
        pick.dataset.field = field.name;
        for (const [value, words] of [["", field.is_required ? "choose a column" : "none"], ...columns.map((each) => [each, each])]) {
          const option = part("option", "", words);
          option.value = value;
          option.selected = value === (chosen[field.name] || "");
          pick.append(option);
        }
        label.append(pick, part("span", "tr-hint", field.help));
        return label;
      }));
    };
    const mapping = () => Object.fromEntries([...place.querySelectorAll("select")].filter((each) => each.value).map((each) => [each.dataset.field, each.value]));

    const look = async () => {
      asking?.abort();
      const mine = (asking = new AbortController());
      rows.setAttribute("aria-busy", "true");
      const wish = columns ? { format: form.elements.format.value, mapping: mapping(), rows: 3 } : { format: facts.format, mapping: chosen, rows: 3 };
      const { told: seen, error, stopped } = await window.tuneroomSend("POST", `${path}/columns`, wish, mine.signal);
      if (stopped || mine !== asking) return;
      rows.setAttribute("aria-busy", "false");
      if (error) {
        const again = part("button", "tr-button tr-small", "Try again");
        again.type = "button";
        again.onclick = look;
        rows.replaceChildren(part("p", "tr-error", error.message), again);
        use.disabled = true;
        return;
      }
      if (!columns) {
        columns = [...seen.columns];
        if (!facts.format && seen.format) form.elements.format.value = seen.format;
        if (!Object.keys(chosen).length) chosen = suggested();
        drawFields();
        if (Object.keys(chosen).length) return look();
      }
      rows.replaceChildren(...seen.rows.map(rowOf));
      use.disabled = !seen.rows.some((row) => row.example);
    };
    const rowOf = (row) => {
      const box = part("div", "tr-map-row"), cells = part("dl", "tr-map-cells"), becomes = part("div", "tr-map-becomes");
      for (const [name, value] of Object.entries(row.cells)) cells.append(part("dt", "", name), part("dd", "", value));
      becomes.append(part("strong", "", `Row ${row.row}`));
      if (row.example) for (const [who, words] of saidIn(row.example)) becomes.append(lineOf(who, words));
      else {
        const chip = part("span", "tr-chip tr-warned", "▲ left out");
        becomes.append(" ", chip, part("p", "tr-map-why", row.problem || "No format fits this row."));
      }
      box.append(cells, becomes);
      return box;
    };
    const lineOf = (who, words) => {
      const line = part("p", "tr-map-said");
      line.append(part("span", "tr-data-who", who), part("span", "", words));
      return line;
    };

    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", (event) => {
      if (!columns) return;
      if (event.target.name === "format") { chosen = suggested(); drawFields(); }
      clearTimeout(quiet);
      quiet = setTimeout(look, QUIET_MS);
    });
    use.onclick = async () => {
      const missing = format().fields.filter((field) => field.is_required && !mapping()[field.name]);
      if (missing.length && Object.keys(mapping()).length) {
        told.replaceChildren(part("p", "tr-error", `Choose a column for ${missing.map((each) => each.title).join(" and ")}: without it no row can be used.`));
        place.querySelector(`[data-field="${CSS.escape(missing[0].name)}"]`)?.focus();
        return;
      }
      use.disabled = true;
      told.replaceChildren(part("p", "tr-hint", "Saving ..."));
      const { told: file, error } = await window.tuneroomSend("POST", `${path}/reading`, { format: form.elements.format.value, mapping: mapping() });
      use.disabled = false;
      if (error) { told.replaceChildren(part("p", "tr-error", error.message)); return; }
      told.replaceChildren();
      window.tuneroomSay("The rows are read anew.");
      window.tuneroomGo({ map: "", row: "", from: "", q: "", tab: "report", v: String(file.tuneroom.version) }, root.dataset.ask);
    };
    look();
  };

  const last = (turns) => turns?.[turns.length - 1]?.content || "";
  const saidIn = (example) => {
    switch (example.kind) {
      case "text": return [["Text", example.text]];
      case "preference": return [["Chosen", last(example.chosen)], ["Rejected", last(example.rejected)]];
      case "labelled": return [["Before", last(example.prompt)], [example.label ? "Good" : "Not good", last(example.completion)]];
      default: return (example.turns || []).map((turn) => [turn.role, turn.content || (turn.tool_calls || []).map((call) => `${call.name}(...)`).join(", ")]);
    }
  };

  window.tuneroomEach("[data-columns]", begin);
})();
