"""User studies as the papers ran them: blind forms out, checked answers in."""
