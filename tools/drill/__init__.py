"""`lockstep drill`: faults under load, and the proof that nothing was lost or done twice."""
