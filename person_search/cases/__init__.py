"""Cases: chosen matches as a folder or zip to hand on, with a report and what proves it."""
