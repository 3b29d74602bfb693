"""The lab: a Docker engine on this machine, images for its tests, and servers in boxes.

`up` installs and starts an engine if none answers (as root, on Debian or Ubuntu), pulls each image, or builds a
stand-in for one that cannot be pulled, and creates the initial state of boxes. `clean` removes everything of the lab.
For the stand-ins and their limitations see devtools/lab/standins/README.md.
"""
