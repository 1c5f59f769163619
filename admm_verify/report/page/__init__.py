"""A robustness report as one page of HTML that needs nothing but itself."""
