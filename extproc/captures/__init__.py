"""One exchange as a file: what was asked and answered on both sides, when, and what became of each member; gone through
again by the code that is here."""
