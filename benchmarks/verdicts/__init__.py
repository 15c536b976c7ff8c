"""Are the verdicts right? Families of made-up matrices that try to break them, judged by the real code.

Made-up numbers, for the judge alone: nothing here is shown as measured. In half of the families nothing is wrong
and chance misleads: builds, images, tables, gates. In the others a cause is planted, and what may be said of its
cells is written beside it. `false` accuses an innocent cell or head, `wrong` accuses a guilty one of something
else, `undecided` leaves open what is innocent, `found` names every cause (`whole`: in each of its cells),
`missed` neither names nor leaves open harm that could be found, `acquitted` says that nothing is wrong with it.
Matrices have 2 to 40 versions, 1 to 9 heads and 4 to 128 images unless a family says otherwise.
`python -m benchmarks.verdicts --check` exits 1 where a limit does not hold; `--family NAME` tries one.
"""
