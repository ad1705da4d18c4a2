"""A report for people: functions of the report alone."""
