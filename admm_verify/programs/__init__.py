"""Linear and mixed-integer programs behind a network, solved by HiGHS: an oracle, whose answers prove nothing."""
