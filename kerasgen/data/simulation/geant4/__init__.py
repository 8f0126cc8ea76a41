"""Transport of the background particles by Geant4 (extra ``[geant4]``).

``workers`` runs the events in child processes and is what the rest of kerasgen uses. In a child
there is one ``kernel`` with the volumes of ``world``; ``event`` shoots the particles of one event.
"""
