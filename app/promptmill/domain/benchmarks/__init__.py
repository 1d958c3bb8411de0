"""Benchmarks: what is asked, in which order it is run, what a run says and what all of them say.

    records     what a benchmark is and what one run measured
    plan        the runs of a benchmark, in their order
    flags       what makes a run or a level doubtful
    summary     from runs to figures, per model, prompt and level
    comparison  two benchmarks of the same work beside each other

Everything is pure; the statistics are in `domain.statistics`.
"""
