"""`flows doctor`: is what should hold true on this very system? It reads the log and the tables, and changes nothing.

What is due is decided with the services' own rules, twice with a pause between: what stays due, no service has done.

`folded` reads the whole log, `checks` compare it with itself and with the queue, `tables` compares it with the tables,
`findings` are their results, and `report` prints them.
"""
