"""The downloads: a queue that outlives the program, which all chatterms on this machine share.

Each download is a small record in the data folder. Whoever fetches it holds a lock beside it, which the system
takes back however the process ends; what others wish of it meanwhile lies beside it too.
"""

from chatterm.downloads.queue import Downloads
from chatterm.downloads.record import Download, DownloadState

__all__ = ["Download", "DownloadState", "Downloads"]
