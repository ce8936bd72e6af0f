"""What is said: short sentences, ours, that together hold nearly every English phoneme.

Each has open and round vowels and at least two closures (p, b, m), so that lips have work to do.
The number of a sentence is its file number: the same in every emotion and for every speaker.
"""

SENTENCES = (
    "My brother bought a purple bowl for the party.",
    "We often visit the old museum before lunch.",
    "Please bring them home by five tomorrow.",
    "You should measure the room with a longer rope.",
    "Five brave ships moved over the open bay.",
    "The boy jumped up and shouted for more milk.",
    "Nobody knew which path would be the best.",
    "Put your boots away before you come inside.",
    "A thick fog fell upon the empty beach.",
    "She whispered that the moon looked very pale.",
    "Both of my thumbs are numb from the frost.",
    "Help me push this huge box up the steps.",
    "The teacher chose a poem about summer rain.",
    "Maybe we could swap places with your mother.",
    "Warm bread and apple jam make a simple meal.",
    "Why would the baby laugh at a paper bag?",
    "Bob never found the path behind the barn.",
    "The blue van broke down by the opera house.",
    "Imagine a zoo where the elephants play music.",
    "Our parrot mimics every voice that it hears.",
    "Do you believe the map shows the proper road?",
    "Father peeled a ripe pear with a sharp knife.",
    "The judge may change his mind about the prize.",
    "Above the village, a plume of smoke went up.",
)
