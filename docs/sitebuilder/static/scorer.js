// Scores of search results: pages that teach come before the reference, which comes before lists.
// Sphinx weighs a word in a title alike on all pages, and puts equal results in alphabetical order.
const PLACES = [
  [/^guide\//, 11],
  [/^howto\//, 10],
  [/^(tour|install|faq|looked_for)$/, 6],
  [/^(migration|gallery)\//, 3],
  [/^reference\/.*(mxnet|bigdl)/, -8],
  [/^(repository\/|genindex|contributing|architecture|policy)/, -8],
];

var Scorer = {
  score: ([docname, , , , score]) => {
    const place = PLACES.find(([pattern]) => pattern.test(docname));
    return score + (place ? place[1] : 0);
  },
  objNameMatch: 16,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
