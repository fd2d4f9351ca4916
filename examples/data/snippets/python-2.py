import csv
import statistics
import sys


def column(rows, name):
    return [float(row[name]) for row in rows if row[name]]


def main(path):
    with open(path, newline="") as handle:
        rows = list(csv.DictReader(handle))
    for name in rows[0]:
        values = column(rows, name)
        print(name, statistics.median(values), max(values))


main(sys.argv[1])
