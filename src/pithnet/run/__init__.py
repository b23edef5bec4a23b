"""Recipes and trainings carried out in run folders. Import from its modules: the settings need no torch."""
