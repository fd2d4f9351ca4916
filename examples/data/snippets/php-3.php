<?php
$database = new PDO('sqlite:notes.db');
$statement = $database->prepare('SELECT id, title FROM notes WHERE title LIKE ?');
$statement->execute(['%' . ($_GET['q'] ?? '') . '%']);
?>
<ul>
<?php foreach ($statement as $note): ?>
  <li><a href="?id=<?= (int) $note['id'] ?>"><?= htmlspecialchars($note['title']) ?></a></li>
<?php endforeach; ?>
</ul>
