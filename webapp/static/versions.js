// Two versions of a dataset side by side: rows added, removed and changed, word by word.
//   <section data-own data-versions>  with two selects of versions (values are file ids) and a button
// Rows are textContent, never markup.
(() => {
  "use strict";
  const part = (...given) => window.tuneroomPart(...given), count = (value) => window.tuneroomNumber(value);
  const MOST_WORDS = 600; // of one text; beyond it the two are shown whole, side by side

  const begin = (root) => {
    const { before, after } = root.querySelector("form").elements;
    const place = root.querySelector(".tr-cmp-answer"), go = root.querySelector("button");
    const compare = async (event) => {
      event?.preventDefault();
      const [old, young] = [before.selectedOptions[0], after.selectedOptions[0]];
      if (old.value === young.value) return place.replaceChildren(part("p", "tr-hint", "These are the same version. Choose two."));
      window.tuneroomAddress({ with: old.dataset.number, to: young.dataset.number });
      go.disabled = true;
      place.replaceChildren(part("p", "tr-hint", "Comparing ..."));
      const { told, error } = await window.tuneroomSend("POST", `/api/v1/files/${encodeURIComponent(young.value)}/compare`, { with: old.value, shown: 20 });
      go.disabled = false;
      if (error) return place.replaceChildren(part("p", "tr-error", error.message));
      place.replaceChildren(summary(told), ...told.shown.map(changed));
    };
    root.querySelector("form").addEventListener("submit", compare);
    if (root.dataset.versions === "now") compare();
  };

  const summary = (told) => {
    const line = part("p", "tr-cmp-sum");
    const all = [["added", "+", told.added], ["removed", "−", told.removed], ["changed", "~", told.changed], ["same", "=", told.same]];
    for (const [word, sign, number] of all) {
      const chip = part("span", `tr-chip tr-cmp-${word}`);
      chip.append(part("b", "", `${sign} ${count(number)}`), ` ${word}`);
      line.append(chip);
    }
    if (!told.added && !told.removed && !told.changed) line.append(part("span", "tr-hint", "The usable rows of both say the same."));
    else if (told.shown.length < told.added + told.removed + told.changed) line.append(part("span", "tr-hint", `the first ${told.shown.length} are below`));
    return line;
  };
  const changed = (row) => {
    const box = part("div", "tr-cmp-row"), head = part("p", "tr-cmp-head");
    const [look, words] = row.before === null ? ["added", `added as row ${count(row.after)}`]
      : row.after === null ? ["removed", `row ${count(row.before)} removed`]
      : ["changed", row.before === row.after ? `row ${count(row.before)} changed` : `row ${count(row.before)}, now ${count(row.after)}, changed`];
    head.append(part("span", `tr-chip tr-cmp-${look}`, words));
    const text = part("div", "tr-cmp-text");
    if (look === "added") text.append(part("ins", "", row.after_text));
    else if (look === "removed") text.append(part("del", "", row.before_text));
    else text.append(...difference(row.before_text, row.after_text));
    box.append(head, text);
    return box;
  };

  // The longest common run of words, as `diff` finds it; equal ends are taken first, since most edits are small.
  const difference = (before, after) => {
    const old = words(before), young = words(after);
    let start = 0, end = 0;
    while (start < old.length && start < young.length && old[start] === young[start]) start += 1;
    while (end < old.length - start && end < young.length - start && old[old.length - 1 - end] === young[young.length - 1 - end]) end += 1;
    const left = old.slice(start, old.length - end), right = young.slice(start, young.length - end);
    const middle = left.length > MOST_WORDS || right.length > MOST_WORDS ? [["del", left.join("")], ["ins", right.join("")]] : walked(left, right);
    const all = [["span", old.slice(0, start).join("")], ...middle, ["span", old.slice(old.length - end).join("")]];
    return all.filter(([, text]) => text).map(([tag, text]) => part(tag, "", text));
  };
  const words = (text) => text.match(/\S+\s*|\s+/g) || [];
  const walked = (left, right) => {
    const table = Array.from({ length: left.length + 1 }, () => new Uint16Array(right.length + 1));
    for (let i = left.length - 1; i >= 0; i -= 1)
      for (let j = right.length - 1; j >= 0; j -= 1)
        table[i][j] = left[i] === right[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    const found = [];
    const add = (tag, word) => (found.length && found[found.length - 1][0] === tag ? (found[found.length - 1][1] += word) : found.push([tag, word]));
    let i = 0, j = 0;
    while (i < left.length || j < right.length) {
      if (i < left.length && j < right.length && left[i] === right[j]) { add("span", left[i]); i += 1; j += 1; }
      else if (i < left.length && (j === right.length || table[i + 1][j] >= table[i][j + 1])) { add("del", left[i]); i += 1; }
      else { add("ins", right[j]); j += 1; }
    }
    return found;
  };

  window.tuneroomEach("[data-versions]", begin);
})();
