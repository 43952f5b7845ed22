// What a model wrote, as a page shows it: window.tuneroomModelText(element, text).
// Headings, lists, quotes, tables, fenced code, `code`, **bold**, *italic*, ~~struck~~ and http(s) links become elements; everything
// else, HTML above all, becomes text nodes. Nothing is ever parsed as HTML and nothing is loaded from anywhere.
// Called again with a longer text it redraws only the blocks that changed, so that a streaming answer keeps still.
(() => {
  "use strict";
  const node = (name, ...children) => {
    const made = document.createElement(name);
    made.append(...children);
    return made;
  };

  const MARKS = [
    [/`([^`\n]+)`/, (found) => node("code", found[1])],
    [/\*\*([^\s*](?:[^*\n]*[^\s*])?)\*\*/, (found) => node("strong", ...inline(found[1]))],
    [/(?<![\w*])\*([^\s*](?:[^*\n]*[^\s*])?)\*(?![\w*])/, (found) => node("em", ...inline(found[1]))],
    [/~~([^~\n]+)~~/, (found) => node("s", ...inline(found[1]))],
    [/\[([^\]\n]{1,300})\]\((https?:\/\/[^\s()<>"]{1,1000})\)/, (found) => link(found[2], found[1])],
    [/(?<![\w/])https?:\/\/[^\s()<>"'`*\]]{1,1000}[^\s()<>"'`*\].,:;!?]/, (found) => link(found[0], found[0])],
  ];
  const link = (address, text) => {
    const made = node("a", text);
    made.href = address;
    made.rel = "noopener noreferrer nofollow";
    made.target = "_blank";
    made.title = address;
    return made;
  };
  const inline = (text) => {
    const parts = [];
    const next = MARKS.map(([mark, make]) => ({ mark: new RegExp(mark.source, "g"), make, found: undefined }));
    let from = 0;
    for (;;) {
      let first = null;
      for (const each of next) {
        if (each.found === undefined || (each.found && each.found.index < from)) {
          each.mark.lastIndex = from;
          each.found = each.mark.exec(text); // null: no more of this kind, never looked for again
        }
        if (each.found && (!first || each.found.index < first.found.index)) first = each;
      }
      if (!first) break;
      if (first.found.index > from) parts.push(text.slice(from, first.found.index));
      parts.push(first.make(first.found));
      from = first.found.index + first.found[0].length;
    }
    if (from < text.length) parts.push(text.slice(from));
    return parts;
  };
  const lines = (text) => text.split("\n").flatMap((line, index) => (index ? [node("br"), ...inline(line)] : inline(line)));

  const FENCE = /^ {0,3}(```+|~~~+)/;
  const ITEM = /^\s{0,8}(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;
  const RULE = /^ {0,3}(?:-{3,}|\*{3,}|_{3,})\s*$/;
  const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)+\|?\s*$/;

  // Blocks as {kind, source}: a fence runs to its end (or to the end of what has come), the rest ends at an empty line.
  const blocksOf = (text) => {
    const blocks = [];
    let current = null;
    const end = () => { if (current) blocks.push(current); current = null; };
    for (const line of text.split("\n")) {
      if (current && current.kind === "code") {
        if (line.trim().startsWith(current.fence) && !line.trim().replaceAll(current.fence[0], "")) end();
        else current.lines.push(line);
        continue;
      }
      const fence = FENCE.exec(line);
      if (fence) { end(); current = { kind: "code", fence: fence[1], lines: [] }; continue; }
      if (!line.trim()) { end(); continue; }
      const heading = /^ {0,3}(#{1,6})\s+(.*)$/.exec(line);
      if (heading) { end(); blocks.push({ kind: "heading", lines: [heading[2]] }); continue; }
      if (RULE.test(line)) { end(); blocks.push({ kind: "rule", lines: [] }); continue; }
      const item = ITEM.exec(line);
      const kind = item ? (item[1] ? "numbers" : "bullets") : /^ {0,3}>/.test(line) ? "quote" : "text";
      if (current && kind !== "text" && current.kind !== kind) end();
      current = current || { kind, lines: [] };
      current.lines.push(line);
    }
    end();
    return blocks;
  };
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const drawn = ({ kind, lines: source }) => {
    switch (kind) {
      case "code": {
        const block = node("pre", node("code", source.join("\n")));
        block.tabIndex = 0; // a wide block scrolls, also by keyboard
        return block;
      }
      case "heading": return node("h4", ...inline(source[0].replace(/\s+#+\s*$/, "")));
      case "rule": return node("hr");
      case "quote": return node("blockquote", ...lines(source.map((line) => line.replace(/^ {0,3}> ?/, "")).join("\n")));
      case "numbers":
      case "bullets": {
        const first = ITEM.exec(source[0]);
        const list = node(first[1] ? "ol" : "ul");
        if (first[1] && first[1] !== "1") list.start = Number(first[1]);
        for (const line of source) {
          const item = ITEM.exec(line);
          if (item) list.append(node("li", ...inline(item[2])));
          else list.lastElementChild.append(node("br"), ...inline(line.trim()));
        }
        return list;
      }
      default: {
        if (source.length > 1 && source[0].includes("|") && TABLE_RULE.test(source[1])) {
          const row = (name, line) => node("tr", ...cells(line).slice(0, 40).map((cell) => node(name, ...inline(cell))));
          return node("div", node("table", node("thead", row("th", source[0])), node("tbody", ...source.slice(2).map((line) => row("td", line)))));
        }
        return node("p", ...lines(source.join("\n")));
      }
    }
  };

  window.tuneroomModelText = (element, text) => {
    const blocks = blocksOf(text);
    const shown = element.tuneroomBlocks || [];
    const keys = blocks.map((block) => JSON.stringify([block.kind, block.lines]));
    let same = 0;
    while (same < keys.length && same < shown.length && keys[same] === shown[same]) same += 1;
    while (element.childNodes.length > same) element.lastChild.remove();
    element.append(...blocks.slice(same).map(drawn));
    element.tuneroomBlocks = keys;
  };
})();
