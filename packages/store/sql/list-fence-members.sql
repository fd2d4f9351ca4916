-- Every member of the fence; times in Unix ms.
SELECT member_id, role, queue, extract(epoch FROM seen_at) * 1000 AS seen_at_ms
FROM fence_members
ORDER BY role, member_id;
