"use strict";
// The rows that are shown, as CSV and as LaTeX.
RSITR.exports = (() => {
  const { h, site } = RSITR;
  const TEX = new Map(Object.entries({
    "\\": "\\textbackslash{}", "^": "\\textasciicircum{}", "~": "\\textasciitilde{}", "<": "\\textless{}",
    ">": "\\textgreater{}", "|": "\\textbar{}", "`": "\\textasciigrave{}", "[": "{[}", "±": "$\\pm$", "†": "\\dag{}",
    "‡": "\\ddag{}", "–": "--", "×": "$\\times$", "Δ": "$\\Delta$", "−": "$-$",
    ...Object.fromEntries([..."{}$&#%_"].map((character) => [character, `\\${character}`])),
  }));
  const tex = (text) => [...text].map((character) => TEX.get(character) ?? character).join("");
  // A spreadsheet would run a text that begins like a formula.
  const field = (text) => {
    const plain = /^[=@\t\r]|^[+-](?![\d.])/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain;
  };
  const marks = (row) => (row.stale ? "†" : "") + (row.leaks ? "‡" : "");

  const csv = (columns, rows) => {
    const lines = [["dataset", ...columns.map(({ title }) => title)], ...rows.map((row) => [row.dataset, ...columns.map((column) => column.text(row))])];
    return `${lines.map((line) => line.map(field).join(",")).join("\n")}\n`;
  };
  const latex = (columns, rows, caption) => {
    const kept = columns.filter((column) => !["interval", "note", "ended"].includes(column.field));
    const cell = (column, row) => {
      if (column.field === "method") return tex(row.method) + (marks(row) ? `\\textsuperscript{${tex(marks(row))}}` : "");
      const text = tex(column.text(row));
      return row.numbers[column.field]?.best ? `\\textbf{${text}}` : text;
    };
    const notes = rows.flatMap((row) => [["†", row.stale], ["‡", row.leaks]].filter(([, text]) => text)
      .map(([symbol, text]) => `\\textsuperscript{${tex(symbol)}}~${tex(`${row.method} (${row.dataset}): ${text}`)}\\par`));
    return [
      `% ${site().experiment}: ${location.hash}; needs \\usepackage{booktabs,adjustbox}`,
      "\\begin{table*}", "\\centering", `\\caption{${tex(caption)}}`, "\\begin{adjustbox}{max width=\\linewidth}",
      `\\begin{tabular}{l${kept.map((column) => column.left ? "l" : "r").join("")}}`, "\\toprule",
      `${["dataset", ...kept.map((column) => tex(column.title))].join(" & ")} \\\\`, "\\midrule",
      ...rows.map((row) => `${[tex(RSITR.heading(row.dataset)), ...kept.map((column) => cell(column, row))].join(" & ")} \\\\`),
      "\\bottomrule", "\\end{tabular}", "\\end{adjustbox}",
      ...(notes.length ? ["\\par\\raggedright\\footnotesize", ...notes] : []),
      "\\end{table*}", `% ${site().command}`, "",
    ].join("\n");
  };
  const save = (name, text) => {
    const address = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
    const anchor = h("a", { href: address, download: name });
    document.body.append(anchor);
    anchor.click();
    anchor.remove();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  };
  return { csv, latex, save };
})();
