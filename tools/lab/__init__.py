"""The lab: a Docker engine on this machine, images for its tests, and servers in boxes.

`up` installs and starts an engine if none answers (as root, on Debian or Ubuntu), pulls each image, or builds a
stand-in for it where it cannot be pulled, and makes what boxes begin with. `clean` removes all that is the lab's.
What the stand-ins are and what they lack is in devtools/lab/standins/README.md.
"""
