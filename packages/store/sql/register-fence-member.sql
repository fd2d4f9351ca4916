-- Notes a member of the fence; one that is known is noted again with what it says now.
--   $1 uuid member id, $2 text role: gateway | collector, $3 text its queue
INSERT INTO fence_members (member_id, role, queue)
VALUES ($1, $2, $3)
ON CONFLICT (member_id) DO UPDATE SET role = excluded.role, queue = excluded.queue, seen_at = now();
