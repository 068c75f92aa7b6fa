"""Many runs: what to run, what shares a program, the journal, training them."""
