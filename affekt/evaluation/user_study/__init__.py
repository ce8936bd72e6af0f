"""User studies as the papers ran them: blind forms, and means of the answers by method."""
