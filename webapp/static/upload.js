// Takes files by drop and by button and sends them, one after another, to our own interface.
//   <section data-upload="/v1/files" data-limit="bytes" data-endings=".jsonl .csv" data-dataset="id or empty"
//     data-then="#button-id">
//     <button data-upload-choose>, <input type="file" hidden>; then a <ul class="tr-uploads">, which is this script's
// Several files at once can become one dataset or one each: that is asked. Each upload gets a line with a bar,
// bytes, speed and time left, and a way to stop; what the server refuses is said there.
(() => {
  "use strict";
  const waiting = [];
  let sending = null;

  const amount = (bytes) => {
    for (const [size, name] of [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]])
      if (bytes >= size) return `${(bytes / size).toFixed(bytes / size < 10 ? 1 : 0)} ${name}`;
    return `${bytes} B`;
  };
  const lasting = (seconds) => {
    if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
    if (seconds < 3600) return `${Math.round(seconds / 60)} min`;
    return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  };
  const part = (tag, className, text) => {
    const element = document.createElement(tag);
    element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const listOf = (zone) => zone.parentElement.querySelector(".tr-uploads");

  const lineFor = (zone, name, bytes) => {
    const line = part("li", "tr-upload");
    const head = part("div", "tr-upload-head");
    const told = part("span", "tr-hint", `${amount(bytes)} · waiting`);
    const button = part("button", "tr-button tr-small", "Cancel");
    button.type = "button";
    head.append(part("strong", "tr-cut", name), told, button);
    const bar = part("div", "tr-bar");
    bar.setAttribute("role", "progressbar");
    bar.setAttribute("aria-label", `Upload of ${name}`);
    bar.setAttribute("aria-valuemin", "0");
    bar.setAttribute("aria-valuemax", "100");
    bar.append(document.createElement("span"));
    line.append(head, bar);
    listOf(zone).append(line);
    return {
      line,
      button,
      progress(share, words) {
        bar.firstChild.style.width = `${(share * 100).toFixed(1)}%`;
        bar.setAttribute("aria-valuenow", String(Math.round(share * 100)));
        told.textContent = words;
      },
      end(words, isError) {
        bar.remove();
        if (isError) {
          told.textContent = amount(bytes);
          const error = part("p", "tr-error", words);
          error.setAttribute("role", "alert");
          line.append(error);
        } else told.textContent = words;
        button.textContent = isError ? "Dismiss" : "Hide";
        button.onclick = () => line.remove();
      },
    };
  };

  const refusal = (zone, file) => {
    const limit = Number(zone.dataset.limit), endings = zone.dataset.endings.split(" ");
    if (!endings.some((ending) => file.name.toLowerCase().endsWith(ending)))
      return `"${file.name}" does not end in ${wordsOf(endings.filter((ending) => !ending.endsWith(".gz")))}, each also with .gz. Convert the file first.`;
    if (file.size === 0) return `"${file.name}" is empty; at least one row is needed. Choose another file.`;
    if (file.size > limit)
      return `"${file.name}" has ${amount(file.size)}; one file may have ${amount(limit)}. Split it and upload the parts.`;
    return null;
  };
  const wordsOf = (endings) => `${endings.slice(0, -1).join(", ")} or ${endings[endings.length - 1]}`;

  const take = async (zone, files) => {
    const good = [];
    for (const file of files) {
      const reason = refusal(zone, file);
      if (reason) lineFor(zone, file.name, file.size).end(reason, true);
      else good.push(file);
    }
    const how = good.length > 1 ? await asked(good.length, zone.dataset.dataset ? "version" : "dataset") : "each";
    if (!how) return;
    for (const together of how === "one" ? [good] : good.map((file) => [file])) line(zone, together);
    next();
  };
  const line = (zone, files) => {
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    const name = files.length > 1 ? `${files[0].name} and ${files.length - 1} more` : files[0].name;
    const shown = lineFor(zone, name, bytes), job = { zone, files, name, bytes, shown };
    shown.button.onclick = () => {
      const index = waiting.indexOf(job);
      if (index >= 0) waiting.splice(index, 1);
      shown.line.remove();
    };
    waiting.push(job);
  };
  // "one", "each", or null where somebody thought better of it.
  const asked = (count, thing) => new Promise((resolve) => {
    const dialog = part("dialog", "tr-dialog"), row = part("div", "tr-actions");
    dialog.append(part("p", "", `You chose ${count} files. Are they parts of one ${thing}, or a ${thing} each?`), row);
    const end = (answer) => { dialog.close(); dialog.remove(); resolve(answer); };
    for (const [answer, words, look] of [[null, "Cancel", ""], ["each", `A ${thing} each`, ""], ["one", `One ${thing} from all of them`, " tr-primary"]]) {
      const button = part("button", `tr-button${look}`, words);
      button.onclick = () => end(answer);
      row.append(button);
    }
    dialog.oncancel = (event) => { event.preventDefault(); end(null); };
    document.body.append(dialog);
    dialog.showModal();
    row.lastChild.focus();
  });

  const next = () => {
    if (sending || !waiting.length) return;
    sending = waiting.shift();
    send(sending).finally(() => { sending = null; next(); });
  };

  const send = ({ zone, files, name, bytes, shown }) => new Promise((done) => {
    const request = new XMLHttpRequest();
    const began = performance.now();
    request.open("POST", zone.dataset.upload);
    request.upload.onprogress = (event) => {
      if (!event.lengthComputable) return;
      const seconds = (performance.now() - began) / 1000;
      const speed = event.loaded / Math.max(seconds, 0.001);
      const left = (event.total - event.loaded) / speed;
      const rest = seconds > 1 && event.loaded < event.total ? ` · ${amount(speed)}/s · ${lasting(left)} left` : "";
      shown.progress(event.loaded / event.total, `${amount(event.loaded)} of ${amount(event.total)}${rest}`);
    };
    request.upload.onload = () => shown.progress(1, `${amount(bytes)} sent, being stored ...`);
    request.onload = () => {
      if (request.status >= 200 && request.status < 300) {
        shown.end(`${amount(bytes)} · uploaded, now being checked`, false);
        setTimeout(() => shown.line.remove(), 6000);
        window.tuneroomPress(zone.dataset.then);
      } else shown.end(sentenceOf(request), true);
      done();
    };
    request.onerror = () => {
      shown.end(`"${name}" did not arrive: the connection broke. Nothing was stored; upload it again.`, true);
      done();
    };
    request.onabort = () => { shown.line.remove(); done(); };
    shown.button.onclick = () => request.abort();
    shown.progress(0, `0 B of ${amount(bytes)}`);
    const form = new FormData();
    form.append("purpose", "fine-tune");
    if (zone.dataset.dataset) form.append("tuneroom_dataset", zone.dataset.dataset);
    for (const file of files) form.append("file", file, file.name);
    request.send(form);
  });

  const sentenceOf = (request) => {
    if (request.status === 401) return "You are signed out. Sign in again and upload the file once more.";
    try { return JSON.parse(request.responseText).error.message; }
    catch { return `The server answered ${request.status}. Nothing was stored; try again.`; }
  };

  const zoneOf = (event) => event.target.closest?.("[data-upload]");
  const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-upload-choose]")) return;
    const zone = zoneOf(event) || document.querySelector("[data-upload]");
    zone?.querySelector("input[type=file]").click();
  });
  document.addEventListener("change", (event) => {
    const zone = event.target.matches("input[type=file]") && zoneOf(event);
    if (!zone) return;
    take(zone, [...event.target.files]);
    event.target.value = "";
  });
  // A file that misses the zone must not replace the page.
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event) || !document.querySelector("[data-upload]")) return;
    event.preventDefault();
    for (const zone of document.querySelectorAll("[data-upload]")) zone.classList.toggle("tr-over", zone === zoneOf(event));
  });
  document.addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) for (const zone of document.querySelectorAll(".tr-over")) zone.classList.remove("tr-over");
  });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event) || !document.querySelector("[data-upload]")) return;
    event.preventDefault();
    const zone = zoneOf(event);
    for (const over of document.querySelectorAll(".tr-over")) over.classList.remove("tr-over");
    if (zone) take(zone, [...event.dataTransfer.files]);
  });
  window.addEventListener("beforeunload", (event) => {
    if (sending || waiting.length) event.preventDefault();
  });
})();
