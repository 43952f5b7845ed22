// An answer that somebody liked or corrected becomes a row of a dataset: window.tuneroomAddRow({...}) opens the dialog.
//   messages   the talk before the answer, as a row has it: system, user, assistant (weight 0: context, not learned)
//   answer     the text, which can be corrected here;  model  who said it
//   closed(text)                        told at the end: what was typed and not saved, or null
//   added(name, address)                told where the row went
//   GET /api/v1/datasets                what there is; POST /api/v1/datasets/{id}/rows a job that writes the next version
//   POST /v1/files                      one row as a new dataset
(() => {
  "use strict";
  const PAGES = 5, PER_PAGE = 100;
  const KEPT = "tuneroom-add-row";
  const NAMES = { system: "System", user: "User", assistant: "Assistant" };
  const part = (...given) => window.tuneroomPart(...given);
  const send = (...given) => window.tuneroomSend(...given);

  const changeable = async () => {
    const found = [];
    for (let page = 0; page < PAGES; page += 1) {
      const { told, error } = await send("GET", `/api/v1/datasets?limit=${PER_PAGE}&offset=${page * PER_PAGE}`);
      if (error) throw new Error(error.message);
      found.push(...told.data.filter((each) => each.may_change));
      if (!told.has_more) break;
    }
    return found;
  };
  const titleOf = (dataset) => {
    const { version, rows } = dataset.newest.tuneroom;
    const counted = rows === null ? "" : ` · ${window.tuneroomNumber(rows)} row${rows === 1 ? "" : "s"}`;
    return `${dataset.name} · version ${version}${counted}`;
  };
  const labelled = (title, field, hint) => {
    const label = part("label", "", title);
    if (hint) label.append(" ", part("span", "tr-hint", hint));
    label.append(field);
    return label;
  };
  const button = (words, look, act) => {
    const made = part("button", `tr-button ${look}`.trim(), words);
    made.type = "button";
    made.onclick = act;
    return made;
  };

  const open = ({ messages, answer, model, original, closed, added }) => {
    const dialog = part("dialog", "tr-dialog tr-add");
    dialog.setAttribute("aria-labelledby", "tr-add-title");
    const form = part("form", "tr-form");
    const title = part("h2", "", "Add to a dataset");
    title.id = "tr-add-title";
    const before = part("div", "tr-add-talk");
    before.tabIndex = 0;
    before.setAttribute("role", "group");
    before.setAttribute("aria-label", "The talk before the answer");
    for (const { role, content, weight } of messages) {
      const said = part("p", "tr-add-said");
      said.append(part("strong", "", weight === 0 ? "Assistant (context, not learned)" : NAMES[role]), part("span", "", content));
      before.append(said);
    }
    const text = part("textarea");
    text.rows = 6;
    text.required = true;
    text.maxLength = 60000;
    text.value = answer;
    const pick = part("select");
    pick.disabled = true;
    pick.append(new Option("Looking for your datasets …", ""));
    const name = part("input");
    name.maxLength = 200;
    name.placeholder = "support-answers";
    const nameLabel = labelled("Name of the new dataset", name);
    nameLabel.hidden = true;
    const told = part("div", "tr-add-told");
    told.setAttribute("role", "status");
    const save = part("button", "tr-button tr-primary", "Save");
    save.type = "submit";
    const cancel = button("Cancel", "", () => close());
    const foot = part("div", "tr-actions");
    foot.append(cancel, save);
    form.noValidate = true;
    form.append(title, before, labelled("Answer", text, "Correct it where it should have said something else: this is what gets learned."), labelled("Dataset", pick), nameLabel, told, foot);
    dialog.append(form);

    let datasets = [], isBusy = false, isSaved = false;
    // What was found stands beside its field, what becomes of the whole above the buttons.
    const say = (words, look = "tr-error", field = null) => {
      field ? field.closest("label").after(told) : foot.before(told);
      told.replaceChildren(...(words ? [part("p", look, words)] : []));
    };
    const chosen = () => datasets.find((each) => each.id === pick.value) || null;
    const close = () => {
      dialog.close();
      dialog.remove();
      closed(isSaved ? null : text.value);
    };
    const fit = () => {
      const dataset = chosen();
      nameLabel.hidden = Boolean(dataset) || pick.disabled;
      save.textContent = dataset ? `Save as a new version of ${dataset.name}` : "Save as a new dataset";
      save.disabled = pick.disabled;
    };
    const look = async () => {
      let problem = "";
      try { datasets = await changeable(); } catch (fault) { problem = fault.message; }
      pick.replaceChildren(...datasets.map((each) => new Option(titleOf(each), each.id)), new Option("A new dataset …", ""));
      let last = null;
      try { last = sessionStorage.getItem(KEPT); } catch { /* switched off */ }
      pick.value = datasets.some((each) => each.id === last) ? last : datasets.length ? datasets[0].id : "";
      pick.disabled = false;
      if (problem) say(`${problem} Your other datasets are not listed; close this and open it again.`);
      fit();
    };

    const refuse = (field, words) => {
      say(words, "tr-error", field);
      field.setAttribute("aria-invalid", "true");
      field.focus();
    };
    const submit = async () => {
      if (isBusy || isSaved || save.disabled) return;
      const said = text.value.trim(), dataset = chosen();
      const called = name.value.trim().replace(/\.jsonl$/i, "").replace(/[\\/]/g, "-").trim();
      for (const field of [text, name]) field.removeAttribute("aria-invalid");
      if (!said) return refuse(text, "The answer is empty; a text was needed, because it is what gets learned.");
      if (!dataset && !called) return refuse(name, "The new dataset has no name. Give it one, such as support-answers.");
      isBusy = true;
      const at = document.activeElement;
      for (const field of [text, pick, name, save]) field.disabled = true;
      cancel.textContent = "Close";
      say("Saving …", "tr-hint");
      const row = { messages: [...messages, { role: "assistant", content: said }] };
      const note = `From the Playground: an answer of ${model}${said === original.trim() ? "" : ", corrected"}`.slice(0, 300);
      const { problem, place } = dataset ? await append(dataset, row, note) : await upload(called, row);
      isBusy = false;
      if (problem) {
        for (const field of [text, pick, name, save]) field.disabled = false;
        cancel.textContent = "Cancel";
        say(problem);
        at.focus();
        if (!dialog.isConnected) window.tuneroomSay(`The answer was not added: ${problem}`, true);
        return;
      }
      isSaved = true;
      try { sessionStorage.setItem(KEPT, place.id); } catch { /* full or switched off */ }
      const words = place.version === 1 ? `Saved as the new dataset ${place.name}.` : `Saved as version ${place.version} of ${place.name}.`;
      const address = `/dataset?id=${encodeURIComponent(place.id)}&v=${place.version}`;
      added(place.name, address);
      if (!dialog.isConnected) return window.tuneroomSay(words);
      const good = part("p", "tr-good", `${words} `), link = part("a", "", "Open it");
      link.href = address;
      good.append(link);
      told.replaceChildren(good);
      save.remove();
      cancel.focus();
    };
    // The next version is written by a job, which goes on when this dialog is closed.
    const append = async (dataset, row, note) => {
      const path = `/api/v1/datasets/${encodeURIComponent(dataset.id)}`;
      const { told: job, error } = await send("POST", `${path}/rows`, { rows: [row], note });
      if (error) return { problem: error.message };
      const problem = await window.tuneroomFollow(job.id, ({ state }) => {
        if (!["queued", "running"].includes(state)) return;
        say(state === "running" ? "Writing the new version …" : "Waiting for a free worker, then the new version is written. You can close this: it goes on.", "tr-hint");
      });
      if (problem) return { problem };
      return { place: await placed(dataset.id, dataset.name, dataset.newest.tuneroom.version + 1) };
    };
    const upload = async (called, row) => {
      const body = new FormData();
      body.append("purpose", "fine-tune");
      body.append("tuneroom_format", "messages");
      body.append("file", new File([`${JSON.stringify(row)}\n`], `${called}.jsonl`, { type: "application/jsonl" }));
      let response;
      try { response = await fetch("/v1/files", { method: "POST", body }); }
      catch { return { problem: "The server cannot be reached. Nothing was saved; try again." }; }
      let made = {};
      try { made = await response.json(); } catch { /* not ours */ }
      if (response.status === 401) return { problem: "You are signed out. Sign in again in another tab, then try once more." };
      if (!response.ok) return { problem: made.error?.message || `The server answered ${response.status}. Nothing was saved; try again.` };
      return { place: await placed(made.tuneroom.dataset, called, 1) };
    };
    // Somebody else may have added a version meanwhile.
    const placed = async (id, name, version) => {
      const { told: now } = await send("GET", `/api/v1/datasets/${encodeURIComponent(id)}`);
      return { id, name: now?.name || name, version: now?.versions?.[0]?.tuneroom.version || version };
    };

    pick.onchange = () => { fit(); if (!nameLabel.hidden) name.focus(); };
    form.onsubmit = (event) => { event.preventDefault(); submit(); };
    dialog.oncancel = (event) => { event.preventDefault(); close(); };
    dialog.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      event.stopPropagation(); // every page's Ctrl+Enter would press the page's own button
      submit();
    });
    save.disabled = true;
    document.body.append(dialog);
    dialog.showModal();
    before.scrollTop = before.scrollHeight;
    text.focus();
    text.setSelectionRange(text.value.length, text.value.length);
    look();
  };
  window.tuneroomAddRow = open;
})();
