(function () {
  "use strict";
  var box = document.getElementById("search"), told = document.getElementById("told");
  var datasets = Array.prototype.slice.call(document.querySelectorAll("section.dataset"));
  function words(text) { return text.toLowerCase().split(/\s+/).filter(Boolean); }
  function holds(text, wanted) { return wanted.every(function (word) { return text.indexOf(word) >= 0; }); }
  var known = datasets.map(function (section) {
    var rows = Array.prototype.slice.call(section.querySelectorAll("tr.field"));
    var name = section.getAttribute("data-name").toLowerCase();
    return {
      section: section,
      link: document.querySelector('nav a[href="#' + section.id + '"]').parentNode,
      text: section.querySelector("header").textContent.toLowerCase() + " " + Array.prototype.map.call(
        section.querySelectorAll(".about dd"), function (told) { return told.textContent.toLowerCase(); }).join(" "),
      rows: rows.map(function (row) { return { row: row, text: name + " " + row.textContent.toLowerCase() }; })
    };
  });
  function search() {
    var wanted = words(box.value), datasetsShown = 0, fieldsShown = 0;
    known.forEach(function (entry) {
      var whole = holds(entry.text, wanted), some = 0;
      entry.rows.forEach(function (field) {
        var hit = holds(field.text, wanted);
        some += hit ? 1 : 0;
        field.hit = hit;
      });
      entry.rows.forEach(function (field) { field.row.hidden = wanted.length > 0 && some > 0 && !field.hit; });
      entry.section.hidden = entry.link.hidden = wanted.length > 0 && !whole && some === 0;
      datasetsShown += entry.section.hidden ? 0 : 1;
      fieldsShown += some;
    });
    told.textContent = wanted.length ? datasetsShown + " datasets, " + fieldsShown + " fields" : "";
  }
  document.getElementById("finder").hidden = false;
  box.addEventListener("input", search);
  document.addEventListener("keydown", function (event) {
    if (event.key === "/" && document.activeElement !== box) { event.preventDefault(); box.focus(); }
    if (event.key === "Escape" && document.activeElement === box) { box.value = ""; search(); }
  });
})();
