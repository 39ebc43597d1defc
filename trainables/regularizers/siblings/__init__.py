"""Families of other papers with formulas of their own: BinReg, LSQ, PARQ and DKM."""
