#include <stdlib.h>

struct node {
    int value;
    struct node *next;
};

struct node *push(struct node *head, int value)
{
    struct node *fresh = malloc(sizeof(*fresh));
    if (fresh == NULL)
        return head;
    fresh->value = value;
    fresh->next = head;
    return fresh;
}

void release(struct node *head)
{
    while (head != NULL) {
        struct node *next = head->next;
        free(head);
        head = next;
    }
}
